"""Reading safetensors from strangers: the header is checked before the library sees the file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.formats.checks import WIDEST, parse_object, plain_file

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEADER = 4 * 2**20
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors, from the header alone.

    Raises:
        UserError: for a header that is too long or no JSON, a repeated key, a shape that is not one or does not
            match its bytes, tensors that overlap or leave gaps, or a file that is longer or shorter than it says.
    """
    plain_file(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise UserError(f"{path.name} is not a safetensors file: its header can't be {length:,} bytes long")
        content = parse_object(file.read(length), f"the header of {path.name}")
    content.pop("__metadata__", None)
    shapes, spans = {}, []
    for name, entry in content.items():
        shapes[name], span = _entry(entry, f"{path.name}: {name[:80]}")
        spans.append(span)
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise UserError(f"{path.name} has tensors that overlap or leave gaps")
        end = last
    if 8 + length + end != size:
        raise UserError(
            f"{path.name} has {size:,} bytes, its header accounts for {8 + length + end:,}: it is cut "
            "short or has something appended"
        )
    return shapes


def _entry(entry: Any, what: str) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Shape and byte span of one tensor of a header."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise UserError(f"{what} is not described as a tensor")
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise UserError(f"{what} has dtype {str(dtype)[:20]!r}: float32, float16, bfloat16 and float64 are read")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise UserError(f"{what} has a shape or place that is not a list of whole numbers")
    if len(offsets) != 2 or len(shape) > 4 or any(not 1 <= number <= WIDEST for number in shape):
        raise UserError(f"{what} has an impossible shape {shape}"[:200])
    elements = 1
    for number in shape:
        elements *= number
    if offsets[1] - offsets[0] != elements * BYTES[dtype]:
        raise UserError(f"{what} claims shape {shape} in {offsets[1] - offsets[0]:,} bytes")
    return tuple(shape), (offsets[0], offsets[1])


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file whose `header` was looked at. Raises UserError if the library can't read it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path.name} can't be read: {str(error)[:120]}") from None
