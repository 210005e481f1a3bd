"""Reading `.pt` files from strangers: never unpickled, and nothing is touched that the file does not really hold.

A `.pt` is a zip of a pickle and one record a storage. The pickle's own words are listed first: only those that rebuild
tensors and dictionaries pass, and then torch reads it with `weights_only=True`, memory-mapped. A tensor may claim any
shape over a storage of four bytes (by strides of 0), so shapes are held against the bytes that are there. Only names
and types may be referred to again: a tuple of itself twice, forty times over, is 2^40 things to look at.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.formats.checks import LARGEST_FILE, plain_file

LARGEST_PICKLE = 2**20
MOST_RECORDS = 1000
ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch BFloat16Storage",
    "torch DoubleStorage",
    "torch LongStorage",
    "torch IntStorage",
}

#: What `torch.save` writes. Names and types are read by `_NAMED` and kept by `_KEPT`; `_AGAIN` refers to what was kept.
_WORDS = {
    "PROTO", "STOP", "MARK", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NEWTRUE", "NEWFALSE", "NONE", "REDUCE", "BUILD", "BINPERSID",
    "SETITEM", "SETITEMS", "APPEND", "APPENDS",
}  # fmt: skip
_NAMED, _KEPT, _AGAIN = ("BINUNICODE", "GLOBAL"), ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")


def read(path: Path) -> dict[str, Any]:
    """The dictionary that a `.pt` file holds; its tensors are memory-mapped and no larger than the file.

    Raises:
        UserError: for anything but a zip as `torch.save` writes it, a pickle that names anything beyond tensors and
            dictionaries, a compressed or oversized record, a tensor that claims more than its bytes, or no dictionary.
    """
    import torch

    plain_file(path)
    _inspect(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the unpickler raises whatever a malformed file makes it raise
        raise UserError(f"{path.name} can't be read as weights: {_first(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path.name} holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def check_claims(tensors: dict[str, Any], what: str) -> None:
    """Raises UserError for a value that is no tensor, is sparse, or has more elements than its storage holds."""
    import torch

    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise UserError(f"{what} has a key that is not text: {str(name)[:40]!r}")
        if not isinstance(tensor, torch.Tensor):
            raise UserError(f"{what}: {name[:80]} is a {type(tensor).__name__}, not a tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise UserError(f"{what}: {name[:80]} is not a plain tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError(
                f"{what}: {name[:80]} claims shape {tuple(tensor.shape)}, but the file holds "
                f"{tensor.untyped_storage().nbytes():,} bytes of it"
            )


def _inspect(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if len(records) > MOST_RECORDS:
                raise UserError(f"{path.name} has {len(records):,} records: more than weights have")
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise UserError(f"{path.name} has compressed records, which torch.save does not write")
            if sum(record.file_size for record in records) > min(LARGEST_FILE, path.stat().st_size):
                raise UserError(f"{path.name} claims more bytes than the file has")
            pickles = [record for record in records if record.filename.endswith("data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > LARGEST_PICKLE:
                raise UserError(f"{path.name} is not a file of weights as torch.save writes it")
            words = list(pickletools.genops(archive.read(pickles[0])))
    except UserError:
        raise
    except Exception as error:  # zipfile and pickletools raise many kinds on malformed input
        raise UserError(f"{path.name} is not a file of weights as torch.save writes it: {_first(error)}") from None
    names: set[Any] = set()
    before = ""
    for word, argument, _ in words:
        known = word.name in _WORDS or word.name in (*_NAMED, *_KEPT, *_AGAIN)
        if not known or word.name == "GLOBAL" and argument not in ALLOWED:
            raise UserError(
                f"{path.name} wants to build {str(argument or word.name)[:60]!r}: only tensors are read, "
                "nothing is executed"
            )
        if word.name in _KEPT:
            names = names | {argument} if before in _NAMED else names - {argument}
        if word.name in _AGAIN and argument not in names:
            raise UserError(f"{path.name} refers to a part of itself twice, which weights don't")
        before = word.name


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
