"""What every reader asks of a file before it trusts it: plain files of a sane size, exact tensors, finite weights."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_FILE = 16 * 2**30
LARGEST_JSON = 4 * 2**20
WIDEST = 2**26  # more dimensions or features than any SAE has; a product of two such is still an int64
FLOATS = ("float32", "float16", "bfloat16", "float64")


def plain_file(path: Path, largest: int = LARGEST_FILE) -> Path:
    """`path` itself, if it is a regular file of at most `largest` bytes.

    Raises:
        UserError: if it is missing, a symbolic link, not a regular file, empty, or too large.
    """
    try:
        found = os.lstat(path)
    except OSError:
        raise UserError(f"{path.name} is missing in {path.parent.name!r}") from None
    if stat.S_ISLNK(found.st_mode):
        raise UserError(f"{path.name} is a symbolic link: give the file itself ('cp -L' makes one)")
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path.name} is not a regular file")
    if found.st_size == 0:
        raise UserError(f"{path.name} is empty")
    if found.st_size > largest:
        raise UserError(f"{path.name} has {found.st_size:,} bytes: more than the {largest:,} that are read")
    return path


def has_file(folder: Path, name: str) -> bool:
    """Whether a folder has an entry of that name, of whatever kind: `plain_file` judges it."""
    return folder.is_dir() and os.path.lexists(folder / name)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object, of at most 4 MB and without repeated keys. Raises UserError otherwise."""
    plain_file(path, LARGEST_JSON)
    return parse_object(path.read_bytes(), path.name)


def parse_object(text: bytes, what: str) -> dict[str, Any]:
    """JSON text that must be one object without repeated keys, at any depth. Raises UserError otherwise."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{what} has the key {twice[:80]!r} twice")
        return found

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{what} is not valid JSON ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise UserError(f"{what} must hold a JSON object, not a {type(value).__name__}")
    return value


def whole_number(value: Any, what: str) -> int:
    """`value` as an int from 1 to 2^26. Raises UserError otherwise; true and 3.5 are no whole numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise UserError(f"{what} must be a whole number, not {str(value)[:40]!r}")
    if not 1 <= value <= WIDEST:
        raise UserError(f"{what} {value:,} must lie between 1 and {WIDEST:,}")
    return int(value)


def exact_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], what: str) -> None:
    """Raises UserError unless `found` has exactly the expected tensors, each with its shape."""
    missing = sorted(set(expected) - set(found))
    if missing:
        raise UserError(f"{what} has no tensor {missing[0]!r}; it needs {', '.join(expected)}")
    extra = sorted(set(found) - set(expected))
    if extra:
        raise UserError(
            f"{what} has a tensor {extra[0][:80]!r} that does not belong there; it may have {', '.join(expected)}"
        )
    for name, shape in expected.items():
        if tuple(found[name]) != tuple(shape):
            raise UserError(f"{what}: {name} has shape {tuple(found[name])}, it must be {tuple(shape)}")


def as_float32(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Contiguous float32 copies. Raises UserError for a tensor that is not of floats or holds NaN or infinities."""
    import torch

    result = {}
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in FLOATS:
            raise UserError(f"{what}: {name} is {dtype}, it must be one of {', '.join(FLOATS)}")
        value = tensor.detach().to(torch.float32).contiguous().clone()
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise UserError(f"{what}: {name} has {bad:,} of {value.numel():,} values that are not finite")
        result[name] = value
    return result


def agreed_k(given: int | None, stated: Any, where: str) -> int | None:
    """K from the caller and from the file. Raises UserError if they differ or the file's is no whole number."""
    if stated is None:
        return None if given is None else whole_number(given, "k")
    told = whole_number(stated, f"k in {where}")
    if given is not None and given != told:
        raise UserError(f"{where} says k {told}, but k {given} was asked for")
    return told
