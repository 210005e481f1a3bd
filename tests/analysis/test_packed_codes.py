"""Binary codes: forms, files, storage, and every search against brute force over dense arrays."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from sae.analysis.packed_codes import BinaryCodes, CodeIndex, cosine_top, recall, recall_at, search, storage_bits
from sae.common.errors import UserError


def some(n: int, n_bits: int, rate: float, seed: int = 0) -> np.ndarray:
    """Random dense codes with empty, full and equal ones among them."""
    dense = np.random.default_rng(seed).random((n, n_bits)) < rate
    if n > 6:
        dense[1], dense[3], dense[5] = False, True, dense[2]
    return dense


def brute(dense: np.ndarray, query: np.ndarray, distance: str) -> np.ndarray:
    shared, either = (dense & query).sum(1), (dense | query).sum(1)
    if distance == "hamming":
        return (dense ^ query).sum(1).astype(float)
    return np.array([1 - s / e if e else 0.0 for s, e in zip(shared, either, strict=True)])


@pytest.mark.parametrize("n_bits", [1, 7, 64, 1000, 70_000])
def test_dense_lists_and_bits_say_the_same(n_bits: int) -> None:
    dense = some(9, n_bits, 0.1)
    codes = BinaryCodes.from_dense(dense)
    assert codes.indices.dtype == (np.uint16 if n_bits <= 65_536 else np.uint32)
    assert [set(codes.code(i)) for i in range(9)] == [set(np.flatnonzero(row)) for row in dense]
    np.testing.assert_array_equal(codes.bits(), np.packbits(dense, axis=1))
    np.testing.assert_array_equal(codes.bits(2, 5), np.packbits(dense[2:5], axis=1))
    back = BinaryCodes.from_bits(codes.bits(), n_bits)
    np.testing.assert_array_equal(back.indptr, codes.indptr)
    np.testing.assert_array_equal(back.indices, codes.indices)
    taken = codes.take(np.array([3, 0, 3, 1]))
    np.testing.assert_array_equal(taken.bits(), np.packbits(dense[[3, 0, 3, 1]], axis=1))


@pytest.mark.parametrize("form", ["lists", "bits"])
def test_a_file_gives_back_what_was_kept(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae.analysis.packed_codes.codes._ROWS_AT_ONCE", 4)  # several pieces
    codes = BinaryCodes.from_dense(some(11, 100, 0.2))
    codes.save(tmp_path / "codes.safetensors", form)
    back = BinaryCodes.load(tmp_path / "codes.safetensors")
    assert back.n_bits == 100 and back.indptr.dtype == np.int64
    np.testing.assert_array_equal(back.indptr, codes.indptr)
    np.testing.assert_array_equal(back.indices, codes.indices)
    empty = BinaryCodes.from_dense(np.zeros((0, 100), bool))
    empty.save(tmp_path / "none.safetensors", form)
    assert len(BinaryCodes.load(tmp_path / "none.safetensors")) == 0


def test_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "codes.safetensors"
    said = {"format": "binary-codes-1", "n_bits": "10"}
    good = {"indptr": np.array([0, 2]), "indices": np.array([1, 3], np.uint16)}
    with pytest.raises(UserError, match="is missing"):
        BinaryCodes.load(path)
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match="codes.safetensors can't be read"):
        BinaryCodes.load(path)
    for arrays, metadata, message in (
        (good, {}, "metadata"),
        (good, {**said, "n_bits": "many"}, "metadata"),
        (good, {**said, "n_bits": "3"}, "outside 0 to 2"),
        (good, {**said, "n_bits": "0"}, "0 bits"),
        ({**good, "more": np.zeros(1)}, said, "other arrays"),
        ({"bits": np.zeros((2, 3), np.uint8)}, said, "uint8 of 2 columns"),
        ({"bits": np.full((2, 2), 255, np.uint8)}, said, "beyond its 10"),
        ({**good, "indptr": np.array([0, 3])}, said, "end at 3"),
        ({**good, "indptr": np.array([1, 2])}, said, "rising from 0"),
        ({**good, "indices": np.array([3, 1], np.uint16)}, said, "ascending"),
        ({**good, "indices": np.array([3, 3], np.uint16)}, said, "ascending"),
        ({**good, "indices": np.array([0.5, 1.0])}, said, "outside"),
    ):
        save_file(arrays, path, metadata=metadata)
        with pytest.raises(UserError, match=message):
            BinaryCodes.load(path)
    with pytest.raises(UserError, match="lists or bits"):
        BinaryCodes.from_dense(np.eye(2)).save(path, "zip")


def test_storage() -> None:
    found = storage_bits(np.array([2, 3]), n_bits=10, d_in=4)
    assert found["dense"] == 128 and found["bitmap"] == 10 and found["index_list"] == 2.5 * 4
    possible = [len(list(combinations(range(10), n))) for n in (2, 3)]
    assert found["entropy"] == pytest.approx(np.mean(np.log2(possible)))
    assert found["entropy_with_count"] == pytest.approx(found["entropy"] + math.log2(11))
    # A length of 2^13 takes 13 bits an entry, one more takes 14; nothing is said by an empty or a full code.
    assert storage_bits(np.array([5]), 8192, 1)["index_list"] == 65
    assert storage_bits(np.array([5]), 8193, 1)["index_list"] == 70
    assert storage_bits(np.array([0, 8]), 8, 1)["entropy"] == pytest.approx(0, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    n_bits=st.sampled_from([1, 5, 64, 130, 300]),
    rate=st.sampled_from([0.01, 0.1, 0.5, 1.0]),
    k=st.integers(1, 70),
    distance=st.sampled_from(search.DISTANCES),
    form=st.sampled_from(search.FORMS),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_search_against_brute_force(
    n: int, n_bits: int, rate: float, k: int, distance: str, form: str, threads: int, seed: int
) -> None:
    dense, asked = some(n, n_bits, rate, seed), some(4, n_bits, rate, seed + 1)
    rows, distances = CodeIndex(BinaryCodes.from_dense(dense), form).search(
        BinaryCodes.from_dense(asked), k, distance, threads
    )
    assert rows.shape == distances.shape == (4, min(k, n))
    for query, found, away in zip(asked, rows, distances, strict=True):
        every = brute(dense, query, distance)
        expected = np.argsort(every, kind="stable")[: min(k, n)]  # ties to the lower row
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(away, every[expected], atol=1e-12)


@pytest.mark.parametrize("distance", search.DISTANCES)
@pytest.mark.parametrize("set_bits", [20, 300])
def test_both_forms_agree_over_several_blocks(distance: str, set_bits: int) -> None:
    """More codes than a block holds; counts beyond 255 take wider counters. Queries of whatever number of threads."""
    generator = np.random.default_rng(0)
    n, n_bits = 70_000, 600
    indptr = np.arange(n + 1) * set_bits
    firsts = generator.integers(0, n_bits, (n, 1))
    lists = np.sort((firsts + generator.permutation(n_bits)[:set_bits]) % n_bits, axis=1)
    codes = BinaryCodes.from_lists(indptr, lists.reshape(-1), n_bits)
    queries = codes.take(np.array([7, 69_999, 65_536]))
    found = [
        CodeIndex(codes, form).search(queries, 12, distance, threads) for form in search.FORMS for threads in (1, 3)
    ]
    for rows, distances in found[1:]:
        np.testing.assert_array_equal(rows, found[0][0])
        np.testing.assert_array_equal(distances, found[0][1])
    assert (found[0][1][:, 0] == 0).all()


def test_the_faster_form_is_taken() -> None:
    assert CodeIndex(BinaryCodes.from_dense(some(500, 4096, 0.004))).form == "lists"
    assert CodeIndex(BinaryCodes.from_dense(some(500, 4096, 0.4))).form == "bitmap"


def test_searches_that_are_refused() -> None:
    codes = BinaryCodes.from_dense(np.eye(4, 8))
    index = CodeIndex(codes)
    for arguments, message in (
        ({"k": 0}, "at least 1"),
        ({"distance": "cosine"}, "hamming or jaccard"),
        ({"queries": BinaryCodes.from_dense(np.eye(2, 9))}, "9 bits, the codes 8"),
    ):
        with pytest.raises(UserError, match=message):
            index.search(**{"queries": codes, **arguments})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no codes"):
        CodeIndex(BinaryCodes.from_dense(np.zeros((0, 8))))
    with pytest.raises(UserError, match="lists or bitmap"):
        CodeIndex(codes, "tree")


def test_cosine_search_against_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_ROWS_AT_ONCE", 40)
    monkeypatch.setattr(recall, "_QUERIES_AT_ONCE", 3)
    generator = np.random.default_rng(0)
    x = generator.integers(-3, 4, (150, 5)).astype(np.float32)  # many equal directions
    x[10] = 0
    asked = generator.normal(size=(7, 5)).astype(np.float32)
    rows, cosines = cosine_top(x, asked, 12)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    every = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ unit.T
    for found, cosine, all_of_it in zip(rows, cosines, every, strict=True):
        assert len(set(found)) == 12
        np.testing.assert_allclose(cosine, np.sort(all_of_it)[::-1][:12], atol=1e-6)
        np.testing.assert_allclose(cosine, all_of_it[found], atol=1e-6)
    assert cosine_top(x, asked, 500)[0].shape == (7, 150)
    same = cosine_top(np.ones((90, 2), np.float32), np.ones((1, 2), np.float32), 3)[0]
    assert same.tolist() == [[0, 1, 2]]
    with pytest.raises(UserError, match="at least 1"):
        cosine_top(x, asked, 0)
    with pytest.raises(UserError, match="shape"):
        cosine_top(x, asked[:, :4])


def test_recall_counts_shared_neighbours() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 16)).astype(np.float32)
    dense = (x @ generator.normal(size=(16, 256))) > 6
    queries = np.array([0, 17, 299, 17])
    found = recall_at(BinaryCodes.from_dense(dense), x, queries, 10)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for query, share in zip(queries, found, strict=True):
        cosine, away = unit @ unit[query], brute(dense, dense[query], "hamming")
        cosine[query], away[query] = -2, 1e9
        near = set(np.argsort(-cosine, kind="stable")[:10]) & set(np.argsort(away, kind="stable")[:10])
        assert share == len(near) / 10
    assert 0.1 < found.mean() < 1
    # Codes that order rows as the cosine does find all of them; a query hidden among equals counts nothing of itself.
    angle = np.arange(200) / 150
    circle = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    thermometer = np.arange(200)[:, None] >= np.arange(200)[None]
    ends = recall_at(BinaryCodes.from_dense(thermometer), circle, np.array([0, 199]), 5)
    assert ends.tolist() == [1.0, 1.0]
    alike = recall_at(BinaryCodes.from_dense(np.ones((50, 8))), np.ones((50, 2), np.float32), np.array([40]), 5)
    assert alike.tolist() == [1.0]
    for arguments, message in (
        ({"queries": np.array([300])}, "outside the rows"),
        ({"k": 300}, "at least 301 rows"),
        ({"x": x[:9]}, "300 codes can't be those of 9"),
    ):
        with pytest.raises(UserError, match=message):
            recall_at(**{"codes": BinaryCodes.from_dense(dense), "x": x, "queries": queries, **arguments})  # type: ignore[arg-type]
