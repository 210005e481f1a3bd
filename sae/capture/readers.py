"""Arrays from strangers, read in pieces: what a file claims is held against its size before anything is allocated."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError

from .npy import open_npy

if TYPE_CHECKING:
    import pyarrow as pa

#: Values read at once: 64 MB in float32.
_PIECE = 1 << 24
_MAX_HEADER = 64 << 20
#: safetensors' names; bfloat16 has no numpy type and is widened by hand.
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "?",
}


@dataclass(frozen=True)
class Source:
    """A two-dimensional array to be read: its shape, what it was stored as, and its pieces in order.

    `pieces()` yields float arrays [n, d_in] whose precision is at least that of `stored` or float64.
    """

    shape: tuple[int, int]
    stored: str
    pieces: Callable[[], Iterator[np.ndarray]]


def open_array(path: Path, key: str | None = None) -> Source:
    """The array in a `.npy`, `.safetensors` or `.parquet` file.

    Args:
        key: which tensor of a safetensors file; needed where it holds several two-dimensional ones.

    Raises:
        UserError: if it is no such file, not two-dimensional, without rows or columns, or not of real numbers.
    """
    readers = {".npy": _npy, ".safetensors": _safetensors, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path.name} can't be imported: give a .npy, .safetensors or .parquet file")
    if not path.is_file():
        raise UserError(f"{path} is not a file that is here")
    if key is not None and reader is not _safetensors:
        raise UserError(f"{path.name} has no named tensors: leave out the key {key!r}")
    return reader(path, key)


def _check_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise UserError(f"{path.name} has shape {shape}: activations need two dimensions, rows and columns")
    if not shape[0] or not shape[1]:
        raise UserError(f"{path.name} has shape {shape}: there are no {'columns' if shape[0] else 'rows'}")
    return shape[0], shape[1]


def _in_pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _PIECE // array.shape[1])
    for start in range(0, array.shape[0], step):
        yield np.asarray(array[start : start + step])


def _npy(path: Path, key: str | None) -> Source:
    array = open_npy(path)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{path.name} holds {array.dtype}: activations are real numbers")
    shape = _check_shape(path, array.shape)
    return Source(shape, array.dtype.name, lambda: _in_pieces(array))


def _safetensors(path: Path, key: str | None) -> Source:
    start, header = _safetensors_header(path)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if key is None:
        flat = [name for name, entry in tensors.items() if isinstance(entry, dict) and _dimensions(entry) == 2]
        if len(flat) > 1 or (not flat and len(tensors) != 1):
            names = ", ".join(repr(name[:40]) for name in list(tensors)[:8])
            raise UserError(f"{path.name} holds {len(flat)} two-dimensional tensors: name one of {names or 'none'}")
        key = flat[0] if flat else next(iter(tensors))
    elif key not in tensors:
        names = ", ".join(repr(name[:40]) for name in list(tensors)[:8])
        raise UserError(f"{path.name} has no tensor {key!r}: there are {names}")
    stored, shape, offset = _safetensors_entry(path, key, tensors[key], path.stat().st_size - start)
    two = _check_shape(path, shape)
    array = np.memmap(path, _SAFETENSORS[stored], "r", start + offset, two)
    if stored != "BF16":
        return Source(two, array.dtype.name, lambda: _in_pieces(array))
    # bfloat16 is the upper half of a float32.
    return Source(two, "bfloat16", lambda: ((piece.astype("<u4") << 16).view("<f4") for piece in _in_pieces(array)))


def _dimensions(entry: dict[str, Any]) -> int:
    return len(entry["shape"]) if isinstance(entry.get("shape"), list) else -1


def _safetensors_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data begin, and what the header says."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise UserError(f"{path.name} is cut off or not a safetensors file")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            raise UserError(f"{path.name} is not a safetensors file that can be read: its header is not JSON") from None
    if not isinstance(header, dict):
        raise UserError(f"{path.name} is not a safetensors file that can be read: its header is no table of tensors")
    return 8 + length, header


def _safetensors_entry(path: Path, key: str, entry: Any, room: int) -> tuple[str, tuple[int, ...], int]:
    """Stored type, shape and offset of one tensor, none of them taken on trust."""
    try:
        stored, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
        if not all(type(number) is int and number >= 0 for number in numbers) or not isinstance(stored, str):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path.name} describes its tensor {key!r} in a way that can't be read") from None
    if stored not in _SAFETENSORS:
        raise UserError(f"{path.name} stores {key!r} as {stored!r}: save it as float32, float16 or bfloat16")
    needed = math.prod(shape) * np.dtype(_SAFETENSORS[stored]).itemsize
    if end > room or end - begin != needed:
        raise UserError(
            f"{path.name} says that {key!r} has shape {tuple(shape)}, which takes {needed:,} bytes; "
            f"it gives them {end - begin:,} of {max(room, 0):,}"
        )
    return stored, tuple(shape), begin


def _parquet(path: Path, key: str | None) -> Source:
    """Numeric columns side by side, or one column of lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        schema, n_rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path.name} can't be read as parquet ({error})") from None
    is_list = [_is_list(field.type) for field in schema]
    if len(schema) == 1 and is_list[0]:
        width = _list_width(path, file)
        kinds, lists = [schema.field(0).type.value_type], True
    else:
        for field in schema:
            if not _is_number(field.type):
                raise UserError(
                    f"{path.name}: column {field.name!r} holds {field.type}; "
                    "give numeric columns alone, or one column of lists"
                )
        width, kinds, lists = len(schema), [field.type for field in schema], False
    if not all(map(_is_number, kinds)):
        raise UserError(f"{path.name} holds lists of {kinds[0]}: activations are real numbers")
    # All columns become one type, the smallest that holds them.
    stored = np.result_type(*(np.dtype(kind.to_pandas_dtype()) for kind in kinds)).name if kinds else ""
    shape = _check_shape(path, (n_rows, width))

    def pieces() -> Iterator[np.ndarray]:
        row = 0
        try:
            for batch in file.iter_batches(batch_size=max(1, _PIECE // width)):
                yield _from_lists(path, batch.column(0), width, row) if lists else _from_columns(batch)
                row += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path.name} can't be read from row {row} on ({error})") from None

    return Source(shape, stored, pieces)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _list_width(path: Path, file: Any) -> int:
    import pyarrow as pa

    try:
        for batch in file.iter_batches(batch_size=1):
            first = batch.column(0)[0].as_py()
            if first is None:
                raise UserError(f"{path.name}: row 0 is null")
            return len(first)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path.name} can't be read as parquet ({error})") from None
    return 0


def _from_columns(batch: Any) -> np.ndarray:
    # A null becomes NaN, which is refused like any other.
    columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
    return np.stack([np.asarray(column, np.result_type(column.dtype, np.float16)) for column in columns], axis=1)


def _from_lists(path: Path, column: Any, width: int, row: int) -> np.ndarray:
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if len(wrong := np.flatnonzero(lengths != width)):
        length = lengths[wrong[0]]
        what = "is null" if np.isnan(length) else f"has {int(length)} values"
        raise UserError(f"{path.name}: row {row + wrong[0]} {what}, row 0 has {width}")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), width)
