"""The tensors of a model's folder, safetensors or `.bin`, in one file or several; each is read when it is asked for."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json

if TYPE_CHECKING:
    from torch import Tensor

#: What weights are called, the first that is there is taken: safetensors before what torch pickles.
FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights; none where there are no weights.

    Raises:
        UserError: if an index can't be read, or names a file that is not in the folder.
    """
    for name in FILES:
        path = folder / name
        if not path.is_file():
            continue
        if not name.endswith(".index.json"):
            return [path]
        content = read_json(path)
        weights = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(weights, dict) or not weights:
            raise UserError(f"{path} has no weight_map: it is not the index of a model's files")
        files = sorted({str(file) for file in weights.values()})
        for file in files:
            # A name with a path in it would be read from elsewhere.
            if Path(file).name != file or not (folder / file).is_file():
                raise UserError(f"{path} names {file!r}, which is not in {folder}: download it too")
        return [folder / file for file in files]
    return []


class TensorFiles:
    """A folder's tensors by name.

    Attributes:
        paths: the files.
        shapes: of each tensor.

    Raises:
        UserError: if there are no weights, or a file can't be read or holds anything but tensors.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = weight_files(folder)
        if not self.paths:
            raise UserError(f"{folder} holds no weights: model.safetensors or pytorch_model.bin is needed")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._where: dict[str, tuple[Path, Any]] = {}
        for path in self.paths:
            found = _open_safetensors(path) if path.suffix == ".safetensors" else _open_bin(path)
            for name, (shape, held) in found.items():
                self.shapes[name] = shape
                self._where[name] = path, held

    def read(self, name: str) -> Tensor:
        """One tensor, as it was saved."""
        path, held = self._where[name]
        if path.suffix != ".safetensors":
            return held
        return held.get_tensor(name)

    def file_of(self, name: str) -> Path:
        """The file that holds a tensor, or would if it were there."""
        return self._where[name][0] if name in self._where else self.paths[0]

    def sha256(self) -> str:
        """Of the file; of several, the SHA-256 of the lines `sha256  name`, in the order of their names."""
        if len(self.paths) == 1:
            return file_sha256(self.paths[0])
        lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in self.paths)
        return hashlib.sha256(lines.encode()).hexdigest()


def _open_safetensors(path: Path) -> dict[str, tuple[tuple[int, ...], Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        opened = safe_open(path, "pt")
        return {name: (tuple(opened.get_slice(name).get_shape()), opened) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} can't be read as safetensors ({error}): download or save it again") from None


def _open_bin(path: Path) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Tensors of a file that `torch.save` wrote; what would run code of its own is refused by torch."""
    import torch

    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:
            # Files from before torch 1.6 are no zip archives and can't be mapped into memory.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(f"{path} holds more than tensors, and is not opened: save its tensors as safetensors") from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} can't be read ({first}): download or save it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}: a dictionary of tensors is needed")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UserError(f"{path} holds {name!r}, a {type(value).__name__}: a dictionary of tensors is needed")
    return {name: (tuple(tensor.shape), tensor) for name, tensor in content.items()}
