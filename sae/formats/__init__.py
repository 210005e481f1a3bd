"""Other tools' SAE files: one file a format, and one line here. Importing this package does not import torch.

A format's module has `TITLE` (what it is, for people), `matches(path) -> bool` (by the names of files alone) and
`read(path, k=None) -> Loaded`, which raises UserError in one line for whatever it can't hold. Those in
`sae.formats.forms.WRITTEN` also have `write(model, form, folder, about)`.
"""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.formats.forms import form_of

if TYPE_CHECKING:
    from sae.formats.forms import Form
    from sae.formats.loaded import Loaded
    from sae.models.base import SAE

FORMATS: dict[str, str] = {
    "run": "sae.formats.run_folder",
    "saelens": "sae.formats.saelens",
    "sparsify": "sae.formats.sparsify",
    "dictionary_learning": "sae.formats.dictionary_learning",
    "grid-pt": "sae.formats.grid_pt",
}


def titles() -> dict[str, str]:
    """What each format is, in words for people."""
    return {name: _module(name).TITLE for name in FORMATS}


def format_of(path: Path) -> str:
    """The name of the format of a file or folder, by what its files are called.

    Raises:
        UserError: if nothing is there, or it is of no known format.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is nothing at {str(path)!r}: give a file or a folder")
    for name in FORMATS:
        if _module(name).matches(path):
            return name
    if inside := _inside(path):
        raise UserError(f"{path.name!r} holds several SAEs in folders: give one of them, such as {inside!r}")
    known = "; ".join(titles().values())
    raise UserError(f"{path.name!r} is not an SAE that can be read here; known are: {known}")


def read(path: Path, k: int | None = None) -> Loaded:
    """Read an SAE of any known format.

    Args:
        path: a file or a folder.
        k: K, for files that don't say it; where a file does, both must agree.

    Raises:
        UserError: for an unknown format, or whatever is wrong with the file, in one line.
    """
    path = Path(path)
    return _module(format_of(path)).read(path, k=k)


def write(model: SAE, name: str, folder: Path, about: dict[str, Any]) -> Form:
    """Write an SAE in another tool's format.

    Args:
        name: a format in `sae.formats.forms.WRITTEN`.
        folder: where its files go, under the names that the format has for them.
        about: what the format keeps of where the SAE comes from, under its own names.

    Raises:
        UserError: with the reason, if the format can't hold it; nothing is written then.
    """
    form = form_of(name, {"architecture": model.architecture, **model.hyperparameters()})
    folder.mkdir(parents=True, exist_ok=True)
    _module(name).write(model, form, folder, about)
    return form


def _inside(path: Path) -> str | None:
    """The first of a folder's own folders that is an SAE, as collections are laid out; None if there is none."""
    folders = sorted(one for one in islice(path.iterdir(), 1000) if one.is_dir()) if path.is_dir() else []
    return next((one.name for one in folders if any(_module(name).matches(one) for name in FORMATS)), None)


def _module(name: str) -> Any:
    return import_module(FORMATS[name])
