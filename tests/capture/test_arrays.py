"""Importing arrays: every format read as numpy wrote it, and every refusal in one line with nothing written."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from sklearn.model_selection import train_test_split

from sae.capture import import_activations, readers
from sae.common.errors import Cancelled, UserError


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is read in several pieces."""
    monkeypatch.setattr(readers, "_PIECE", 60)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)


def _take(tmp_path: Path, file: Path, **more: Any) -> Any:
    return import_activations(file, tmp_path / "workspace" / "a", name="a", **more)


def _refused(tmp_path: Path, file: Path, message: str, **more: Any) -> None:
    with pytest.raises(UserError, match=message) as caught:
        _take(tmp_path, file, **more)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "workspace").exists() or list((tmp_path / "workspace").iterdir()) == []


def _write(file: Path, x: np.ndarray) -> Path:
    if file.suffix == ".npy":
        np.save(file, x)
    elif file.suffix == ".safetensors":
        save_file({"acts": x}, file)
    else:
        pd.DataFrame(x, columns=[f"d{i}" for i in range(x.shape[1])]).to_parquet(file)
    return file


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32", "int8"])
def test_each_format_and_type(tmp_path: Path, x: np.ndarray, suffix: str, dtype: str) -> None:
    stored = (x * 10).astype(dtype)
    made = _take(tmp_path, _write(tmp_path / f"x{suffix}", stored))
    kept = dtype if dtype in ("float16", "float32") else "float32"
    assert made.manifest["dtype"] == made.array.dtype.name == kept
    np.testing.assert_array_equal(made.array, stored.astype(kept))
    assert made.manifest["imported"]["stored_as"] == dtype
    piece = made.slice()
    assert (piece.key, piece.title, made.manifest["kind"], len(made.rows)) == ("all", "all rows", "import", 50)
    train, held = train_test_split(np.arange(50), test_size=0.2, random_state=42)
    assert piece.train_rows.tolist() == sorted(train) and piece.validation_rows.tolist() == sorted(held)
    assert made.text(3) == "" and "question" not in made.examples
    assert [path.name for path in (tmp_path / "workspace").iterdir()] == ["a"]


def test_bfloat16_and_fortran_and_big_endian(tmp_path: Path, x: np.ndarray) -> None:
    low = torch.from_numpy(x).to(torch.bfloat16)
    save_torch({"acts": low}, tmp_path / "b.safetensors")
    made = import_activations(tmp_path / "b.safetensors", tmp_path / "b", name="b")
    np.testing.assert_array_equal(made.array, low.float().numpy())
    assert made.manifest["imported"]["stored_as"] == "bfloat16"
    np.save(tmp_path / "f.npy", np.asfortranarray(x.astype(">f8")))
    made = import_activations(tmp_path / "f.npy", tmp_path / "f", name="f")
    np.testing.assert_array_equal(made.array, x)
    assert made.array.flags.c_contiguous and not made.array.flags.writeable


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 12), pa.large_list(pa.float16())])
def test_a_parquet_column_of_lists(tmp_path: Path, x: np.ndarray, kind: pa.DataType) -> None:
    rows = [row.astype(np.float16) if kind.value_type == pa.float16() else row for row in x]
    pq.write_table(pa.table({"acts": pa.array([list(row) for row in rows], kind)}), tmp_path / "x.parquet")
    made = _take(tmp_path, tmp_path / "x.parquet")
    np.testing.assert_array_equal(made.array, np.stack(rows).astype(made.array.dtype))


def test_one_tensor_of_several_is_named(tmp_path: Path, x: np.ndarray) -> None:
    save_file({"one": x, "two": x * 2, "bias": x[0]}, tmp_path / "x.safetensors")
    _refused(tmp_path, tmp_path / "x.safetensors", "2 two-dimensional tensors: name one of")
    _refused(tmp_path, tmp_path / "x.safetensors", "no tensor 'three'", key="three")
    _refused(tmp_path, tmp_path / "x.safetensors", "two dimensions", key="bias")
    np.testing.assert_array_equal(_take(tmp_path, tmp_path / "x.safetensors", key="two").array, x * 2)
    save_file({"acts": x, "bias": x[0]}, tmp_path / "y.safetensors")
    np.testing.assert_array_equal(import_activations(tmp_path / "y.safetensors", tmp_path / "y", name="y").array, x)


@pytest.mark.parametrize("stored", [["F32"], {"F32": 1}, None, 5])
def test_a_safetensors_type_that_is_no_word(tmp_path: Path, stored: object) -> None:
    entry = {"acts": {"dtype": stored, "shape": [2, 2], "data_offsets": [0, 16]}}
    header = json.dumps(entry).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    _refused(tmp_path, tmp_path / "x.safetensors", "describes its tensor 'acts' in a way that can't be read")


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
def test_nan_and_inf_are_counted(tmp_path: Path, x: np.ndarray, suffix: str) -> None:
    x[17, 3], x[17, 4], x[40, 0] = np.nan, np.inf, -np.inf
    _refused(tmp_path, _write(tmp_path / f"x{suffix}", x), "3 of its values are NaN or Inf, the first in row 17")


def test_values_beyond_float32(tmp_path: Path, x: np.ndarray) -> None:
    large = x.astype(np.float64)
    large[5, 5] = 1e300
    _refused(tmp_path, _write(tmp_path / "x.npy", large), "1 of its values are NaN, Inf or beyond float32.*row 5")


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_other_shapes(tmp_path: Path, x: np.ndarray, suffix: str) -> None:
    for array, message in (
        (x[0], r"shape \(12,\).*two dimensions"),
        (x.reshape(5, 10, 12), r"shape \(5, 10, 12\).*two dimensions"),
        (x[:0], "no rows"),
        (x[:, :0], "no columns"),
    ):
        _refused(tmp_path, _write(tmp_path / f"x{suffix}", np.ascontiguousarray(array)), message)


def test_parquet_that_is_no_array(tmp_path: Path, x: np.ndarray) -> None:
    file = tmp_path / "x.parquet"
    pd.DataFrame({"a": x[:, 0], "name": "text"}).to_parquet(file)
    _refused(tmp_path, file, "column 'name' holds")
    pd.DataFrame({"a": x[:0, 0]}).to_parquet(file)
    _refused(tmp_path, file, "no rows")
    pq.write_table(pa.table({"a": [[1.0, 2.0], [1.0]]}), file)
    _refused(tmp_path, file, "row 1 has 1 values, row 0 has 2")
    pq.write_table(pa.table({"a": [[1.0, 2.0], None]}), file)
    _refused(tmp_path, file, "row 1 is null")
    pq.write_table(pa.table({"a": [["x"]]}), file)
    _refused(tmp_path, file, "real numbers")
    pq.write_table(pa.table({"a": [1.0, None, 3.0]}), file)
    _refused(tmp_path, file, "1 of its values are NaN or Inf, the first in row 1")
    file.write_bytes(file.read_bytes()[:50])
    _refused(tmp_path, file, "can't be read as parquet")


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_hostile_npy_files(tmp_path: Path, x: np.ndarray) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.array([[Bomb(tmp_path / "ran")]], dtype=object), allow_pickle=True)
    _refused(tmp_path, file, "never unpickled")
    assert not (tmp_path / "ran").exists()
    _refused(tmp_path, _write(file, x.astype(np.complex64)), "real numbers")
    _refused(tmp_path, _write(file, x.astype("S4")), "real numbers")
    _write(file, x)
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    _refused(tmp_path, file, "says it holds 2,400 bytes")
    # One that claims 10^12 elements, or more than 64 bits can count, must cost nothing.
    for claim in ((10**6, 10**6), (2**40, 2**40), (2**62, 12)):
        file.write_bytes(b"")
        with open(file, "wb") as opened:
            np.lib.format.write_array_header_1_0(opened, {"descr": "<f4", "fortran_order": False, "shape": claim})
        _refused(tmp_path, file, "says it holds")
    for content in (b"", b"\x93NUMPY", b"PK\x03\x04 not an array", whole[:40]):
        file.write_bytes(content)
        _refused(tmp_path, file, "not an npy file")
    file.write_bytes(whole[:8] + b"(" * 118 + whole[128:])
    _refused(tmp_path, file, "not an npy file")


def test_hostile_safetensors_files(tmp_path: Path, x: np.ndarray) -> None:
    file = tmp_path / "x.safetensors"

    def put(header: Any, data: bytes = x.tobytes(), length: int | None = None) -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
        return file

    good = {"dtype": "F32", "shape": [50, 12], "data_offsets": [0, 2400]}
    for entry, message in (
        ({**good, "shape": [10**6, 10**6]}, "takes 4,000,000,000,000 bytes"),
        ({**good, "shape": [0, 2**60], "data_offsets": [0, 0]}, "no rows"),
        ({**good, "shape": [-50, -12]}, "can't be read"),
        ({**good, "shape": [50.0, 12]}, "can't be read"),
        ({**good, "data_offsets": [2400, 4800]}, "2,400 of 2,400"),
        ({**good, "data_offsets": [0]}, "can't be read"),
        ({**good, "dtype": "F8_E4M3"}, "F8_E4M3"),
        ({"shape": [50, 12]}, "can't be read"),
        ([1], "can't be read"),
    ):
        _refused(tmp_path, put({"acts": entry}), message)
    _refused(tmp_path, put({}), "0 two-dimensional tensors")
    _refused(tmp_path, put([]), "no table of tensors")
    _refused(tmp_path, put(b"{" * 50), "not JSON")
    _refused(tmp_path, put(b"[" * 200_000), "not JSON")
    _refused(tmp_path, put({"acts": good}, length=2**60), "cut off")
    file.write_bytes(b"\x01")
    _refused(tmp_path, file, "cut off")
    np.testing.assert_array_equal(_take(tmp_path, put({"../../acts": good})).array, x)


def test_names_and_files(tmp_path: Path, x: np.ndarray) -> None:
    file = _write(tmp_path / "x.npy", x)
    for name in ("../a", "a/b", "", ".a", "a" * 81):
        with pytest.raises(UserError, match="can't be used"):
            import_activations(file, tmp_path / "workspace" / "a", name=name)
    assert not (tmp_path / "workspace").exists()
    _refused(tmp_path, tmp_path / "missing.npy", "not a file")
    (tmp_path / "x.pt").write_bytes(b"")
    _refused(tmp_path, tmp_path / "x.pt", "give a .npy")
    _refused(tmp_path, file, "no named tensors", key="acts")
    (tmp_path / "folder.npy").mkdir()
    _refused(tmp_path, tmp_path / "folder.npy", "not a file")


def _lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_examples_come_along(tmp_path: Path, x: np.ndarray) -> None:
    records = [
        {
            "question": f"What is {i}?",
            "answer": f"#### {i}",
            "split": "test" if i >= 40 else "train",
            "group": i % 10,
            "correct": i % 2,
            "score": i if i % 3 else None,
            "tags": ["a", i],
            "mixed": i if i % 2 else "odd",
            "huge": 2**80,
        }
        for i in range(50)
    ]
    made = _take(tmp_path, _write(tmp_path / "x.npy", x), examples=_lines(tmp_path / "e.jsonl", records))
    table = made.examples
    assert made.text(7) == "What is 7?" and table["answer"][7] == "#### 7"
    assert table["correct"].dtype == bool and table["correct"].tolist() == [bool(i % 2) for i in range(50)]
    assert table["score"].isna().sum() == 17 and table["score"][1] == 1.0
    assert json.loads(table["tags"][3]) == ["a", 3] and table["mixed"].tolist()[:2] == ["odd", "1"]
    # The train examples are divided by group; the test ones stay.
    piece = made.slice()
    assert piece.test_rows.tolist() == list(range(40, 50))
    train, held = ({i % 10 for i in rows} for rows in (piece.train_rows, piece.validation_rows))
    assert len(held) == 2 and not train & held
    assert table["split"].tolist() == piece.rows["split"].tolist()


def test_examples_that_do_not_fit(tmp_path: Path, x: np.ndarray) -> None:
    file = _write(tmp_path / "x.npy", x)
    _refused(tmp_path, file, "49 examples and x.npy has 50 rows", examples=_lines(tmp_path / "e.jsonl", [{}] * 49))
    _refused(tmp_path, file, "51 examples", examples=_lines(tmp_path / "e.jsonl", [{}] * 51))
    _refused(tmp_path, file, "line 1 .* not a JSON object", examples=_lines(tmp_path / "e.jsonl", [{}, [1]]))
    _refused(tmp_path, file, "split 'dev'", examples=_lines(tmp_path / "e.jsonl", [{"split": "dev"}] * 50))
    _refused(tmp_path, file, "one group", examples=_lines(tmp_path / "e.jsonl", [{"group": 1}] * 50))
    (tmp_path / "e.jsonl").write_text("{}\n{\n")
    _refused(tmp_path, file, "line 1 .* not JSON", examples=tmp_path / "e.jsonl")
    (tmp_path / "e.jsonl").write_bytes(b"\xff\xfe\x00")
    _refused(tmp_path, file, "not UTF-8", examples=tmp_path / "e.jsonl")
    _refused(tmp_path, file, "can't be read", examples=tmp_path / "none.jsonl")


def test_the_same_again_and_another_under_its_name(tmp_path: Path, x: np.ndarray) -> None:
    file = _write(tmp_path / "x.npy", x)
    made = _take(tmp_path, file)
    assert _take(tmp_path, file).manifest == made.manifest
    with pytest.raises(UserError, match="are there already"):
        _take(tmp_path, _write(tmp_path / "y.npy", x + 1))
    np.testing.assert_array_equal(made.array, x)


def test_cancelled_leaves_nothing(tmp_path: Path, x: np.ndarray) -> None:
    class Stop:
        def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
            if done:
                raise Cancelled

    with pytest.raises(Cancelled):
        _take(tmp_path, _write(tmp_path / "x.npy", x), progress=Stop())
    assert list((tmp_path / "workspace").iterdir()) == []
