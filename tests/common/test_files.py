"""Files are whole or not there; names can't leave their folder; JSON holds no NaN."""

import json
import os
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from sae.common.errors import UserError
from sae.common.files import (
    check_name,
    file_sha256,
    read_json,
    read_json_once,
    read_parquet,
    replacing,
    to_json,
    write_json,
    write_parquet,
    write_tensors,
)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": 1})

    def half_written():
        with replacing(path) as temporary:
            temporary.write_text("{half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_written()
    assert read_json(path) == {"x": 1}
    assert os.listdir(path.parent) == ["b.json"]


def test_json_has_no_nan_and_plain_numbers():
    value = {"a": np.float32(1.5), "b": float("nan"), "c": np.array([1, 2]), "d": (np.int64(3), float("inf")), 5: True}
    assert json.loads(to_json(value)) == {"a": 1.5, "b": None, "c": [1, 2], "d": [3, None], "5": True}


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "not valid JSON"), (b"\xff", "not valid JSON"), (b"[" * 99999, "not valid")]
)
def test_json_that_can_not_be_read(tmp_path, content, said):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_json(path)


def test_missing_json(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 80])
def test_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "..", "a..b", "/etc", "a/b", "a\\b", ".a", "-a", "é", "a b", "x" * 81, "a\n", None]
)
def test_names_that_are_refused(name):
    with pytest.raises(UserError, match="can't be used"):
        check_name(name)


def test_tables_and_tensors_come_back(tmp_path):
    from safetensors.torch import load_file

    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    write_parquet(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)
    strided = torch.arange(12.0).reshape(3, 4).T
    write_tensors(tmp_path / "t.safetensors", {"x": strided}, {"note": "n"})
    assert torch.equal(load_file(tmp_path / "t.safetensors")["x"], strided)


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_that_is_read_once_is_shared_until_its_file_is_another(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"n": 1})
    first = read_json_once(path)
    assert first == {"n": 1} and read_json_once(path) is first
    write_json(path, {"n": 2})  # as long as before, and moved into its place
    assert read_json_once(path) == {"n": 2} and first == {"n": 1}
    path.unlink()
    with pytest.raises(UserError, match="a.json"):
        read_json_once(path)


def test_a_table_that_is_replaced_all_the_time_is_read_whole(tmp_path):
    path, chance = tmp_path / "table.parquet", np.random.default_rng(0)
    tables = [pd.DataFrame({f"c{i}": chance.normal(size=n) for i in range(12)}) for n in (50, 400, 3000)]
    write_parquet(path, tables[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for table in tables:
                write_parquet(path, table)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):  # read by its path, one in twelve fails
            found = read_parquet(path)
            assert any(found.equals(table) for table in tables)
    finally:
        stop.set()
        writer.join()
