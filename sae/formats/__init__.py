"""Other tools' SAE files: one file a format, and one line here. Importing this package does not import torch.

A format's module has `TITLE` (what it is, for people), `matches(path) -> bool` (by the names of files alone) and
`read(path, k=None) -> Loaded`, which raises UserError in one line for whatever it can't hold.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.formats.loaded import Loaded

FORMATS: dict[str, str] = {
    "run": "sae.formats.run_folder",
    "saelens": "sae.formats.saelens",
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


def _module(name: str) -> Any:
    return import_module(FORMATS[name])
