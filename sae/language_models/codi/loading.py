"""A CODI model by name: one that ships, a folder, or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sae.common.errors import UserError
from sae.common.progress import Progress, Silent

from .recognise import MARK, PUBLISHED, called_codi, holds_codi, is_hub_id

if TYPE_CHECKING:
    from .model import Codi

#: The models that ship, a folder each.
FOLDER = Path(__file__).resolve().parents[3] / "data" / "models"
#: The one that is taken where none is named: it makes errors that can be predicted.
DEFAULT = "codi-supervised"


def shipped() -> tuple[str, ...]:
    """The names of the shipped models that are there."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{MARK}")))


SHIPPED = shipped()


def is_codi(name: str) -> bool:
    """Whether a name or folder is a CODI model's, as far as can be told without a network and without loading it.

    True for shipped names, folders of our own, folders whose weights have CODI's projection, and hub ids that are
    published CODI models or have `codi` as a word of their name.
    """
    if name in shipped():
        return True
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return holds_codi(folder)
    return called_codi(name)


def load(name: str, *, device: str = "cpu", dtype: str = "float32", progress: Progress | None = None) -> Codi:
    """Load a CODI model.

    Nothing of a model runs as code of its own, and a `.bin` is read with `weights_only`.

    Args:
        name: of a shipped model (`shipped()`); the path of a folder (our own format, or a published checkpoint); or a
            hub id such as `zen-E/CODI-gpt2`, taken from the local hub cache if it is complete there.
        device: as torch names it.
        dtype: `float32`, `float16` or `bfloat16`, the precision that it computes in. On a CPU float16 becomes
            float32.

    Returns:
        The model. Its `source` has `name`, `kind`, `title`, `n_thoughts`, `from`, `sha256` (of the weights),
        `licence`, `dtype`; of the hub also `revision`, of a published checkpoint `lora`.

    Raises:
        UserError: if there is no such model, or its files can't be used.
    """
    progress = progress or Silent()
    folder = Path(name).expanduser()
    if name in shipped():
        return _opened(FOLDER / name, name, device, dtype, progress)
    if name and folder.is_dir():
        return _opened(folder, name, device, dtype, progress)
    if not is_hub_id(name) or folder.is_file():
        known = ", ".join(shipped()) or "none is here"
        raise UserError(
            f"CODI model {name!r} is neither a shipped one ({known}), nor a folder that is here, nor a hub id such as "
            f"{PUBLISHED[0]}"
        )
    from sae.language_models.hub import hub_folder

    progress.update(0, 1, f"fetching {name}")
    found = hub_folder(name, complete=_complete, wanted=_wanted)
    codi = _opened(found.folder, name, device, dtype, progress)
    codi.source |= {"from": f"https://huggingface.co/{name}", "revision": found.revision}
    codi.source["licence"] = codi.source.get("licence") or found.licence
    return codi


def _opened(folder: Path, name: str, device: str, dtype: str, progress: Progress) -> Codi:
    progress.update(0, 1, f"reading {name}")
    if (folder / MARK).is_file():
        from . import folders

        return folders.load(folder, device, dtype, name=name)
    from . import checkpoints

    return checkpoints.load(folder, name=name, device=device, dtype=dtype, progress=progress)


def _complete(folder: Path) -> bool:
    """Whether a snapshot of the hub has all its weights."""
    from .tensor_files import weight_files

    try:
        return bool(weight_files(folder))
    except UserError:
        return False


def _wanted(name: str, files: list[str]) -> list[str]:
    """What to fetch of a repository: its weights in one form, and everything small."""
    small = ["*.json", "*.txt", "README.md"]
    if any(file.endswith(".safetensors") for file in files):
        return ["*.safetensors", *small]
    if any(file.startswith("pytorch_model") and file.endswith(".bin") for file in files):
        return ["pytorch_model*.bin", *small]
    raise UserError(f"model {name!r} has neither model.safetensors nor pytorch_model.bin on the hub")
