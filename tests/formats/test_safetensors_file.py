"""The header of a safetensors file, held against its bytes before the library reads it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sae.common.errors import UserError
from sae.formats import safetensors_file


def written(path: Path, header: str | dict, data: bytes = b"") -> Path:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape: list, first: int, last: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def test_names_and_shapes_as_the_library_wrote_them(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5, dtype=torch.float64), "c": torch.zeros(2).half()}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"made": "by a test"})
    assert safetensors_file.header(tmp_path / "x.safetensors") == {"a": (3, 4), "b": (5,), "c": (2,)}
    read = safetensors_file.tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


HEADERS: dict[str, tuple[str | dict, bytes, str]] = {
    "twice": (f'{{"a":{json.dumps(entry([1], 0, 4))},"a":{json.dumps(entry([1], 0, 4))}}}', b"0000", "'a' twice"),
    "twice inside": ('{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', b"0000", "'shape' twice"),
    "huge": ({"a": entry([0, 2**60], 0, 0)}, b"", "impossible shape"),
    "overflow": ({"a": entry([2**25, 2**25], 0, 4)}, b"0000", "claims shape"),
    "negative": ({"a": entry([-1], 0, 4)}, b"0000", "whole numbers"),
    "gap": ({"a": entry([1], 4, 8)}, b"0" * 8, "gaps"),
    "overlap": ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"0" * 4, "overlap"),
    "short": ({"a": entry([2], 0, 8)}, b"0000", "cut short"),
    "appended": ({"a": entry([1], 0, 4)}, b"0000and more", "appended"),
    "dtype": ({"a": entry([1], 0, 1, "F8_E4M3")}, b"0", "F8_E4M3"),
    "not an object": ("[1, 2]", b"", "JSON object"),
    "not JSON": ("{]", b"", "not valid JSON"),
    "not a tensor": ({"a": 5}, b"", "not described"),
    "deep": ("{" + '"a":[' * 100_000, b"", "not valid JSON"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    header, data, words = HEADERS[name]
    with pytest.raises(UserError) as caught:
        safetensors_file.header(written(tmp_path / "x.safetensors", header, data))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"123", struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 0), b"\x80\x04" * 50]
)
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(UserError):
        safetensors_file.header(tmp_path / "x.safetensors")


def test_a_link_or_a_folder_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "real.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "real.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    for name, words in (("link", "symbolic link"), ("folder", "not a regular file"), ("none", "is missing")):
        with pytest.raises(UserError, match=words):
            safetensors_file.header(tmp_path / f"{name}.safetensors")


def test_a_file_that_is_too_large_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    with open(tmp_path / "x.safetensors", "wb") as file:
        file.truncate(17 * 2**30)  # sparse: takes no room
    with pytest.raises(UserError, match="bytes: more than"):
        safetensors_file.header(tmp_path / "x.safetensors")


def test_a_type_that_is_a_list_is_refused(tmp_path: Path) -> None:
    header = b'{"x":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(UserError, match="has dtype"):
        safetensors_file.header(tmp_path / "a.safetensors")
