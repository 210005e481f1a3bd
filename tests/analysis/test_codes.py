import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sae.analysis.codes import FeatureActivations, segment_maxima, segment_sums
from sae.common.errors import UserError


def dense(n_rows=40, d_sae=13, seed=0):
    rng = np.random.default_rng(seed)
    array = rng.normal(size=(n_rows, d_sae)).astype(np.float32)
    array[rng.random(array.shape) < 0.7] = 0
    array[:, 4] = 0  # a dead feature
    array[7] = 0  # a silent row
    return array


def test_both_copies_hold_the_dense_array():
    array = dense()
    codes = FeatureActivations.from_dense(array)
    assert (codes.n_rows, codes.d_sae, codes.nnz) == (40, 13, np.count_nonzero(array))
    np.testing.assert_array_equal(codes.csc().toarray(), array)
    np.testing.assert_array_equal(codes.csr().toarray(), array)
    for j in range(13):
        rows, values = codes.feature(j)
        np.testing.assert_array_equal(rows, np.nonzero(array[:, j])[0])
        np.testing.assert_array_equal(values, array[rows, j])
    for i in range(40):
        features, values = codes.row(i)
        np.testing.assert_array_equal(features, np.nonzero(array[i])[0])
        np.testing.assert_array_equal(values, array[i, features])
    np.testing.assert_array_equal(codes.n_active, np.count_nonzero(array, axis=0))
    np.testing.assert_allclose(codes.sums, array.astype(float).sum(0), atol=1e-9)
    np.testing.assert_allclose(codes.squares, (array.astype(float) ** 2).sum(0), atol=1e-9)


def test_top_k_entries_in_any_order_and_without_their_zeros():
    features = np.array([[3, 0], [1, 2], [2, 0]])
    values = np.array([[1.0, -2.0], [0.0, 4.0], [0.0, 0.0]])
    codes = FeatureActivations.from_top(features, values, 4)
    np.testing.assert_array_equal(codes.csr().toarray(), [[-2, 0, 0, 1], [0, 0, 4, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(codes.row(0)[0], [0, 3])
    assert codes.row_features.dtype == np.int32 and codes.row_indptr.dtype == np.int64


@pytest.mark.parametrize(
    "indptr, features, values, message",
    [
        ([0, 2], [0, 0], [1.0, 2.0], "twice"),
        ([0, 1], [4], [1.0], "outside 0 to 3"),
        ([0, 1], [-1], [1.0], "outside"),
        ([0, 1], [0], [np.nan], "NaN"),
        ([0, 2], [0], [1.0], "rise"),
        ([0, 1], [0, 1], [1.0], "one length"),
    ],
)
def test_entries_that_do_not_fit_are_refused(indptr, features, values, message):
    with pytest.raises(UserError, match=message):
        FeatureActivations.from_rows(np.array(indptr), np.array(features), np.array(values), 4)


def test_the_same_feature_in_neighbouring_rows_is_no_repeat():
    # last row of feature 0 and first row of feature 1 are the same row: adjacent in the file, not a repeat
    codes = FeatureActivations.from_dense(np.array([[0, 0], [5, 6]], np.float32))
    assert codes.nnz == 2


def test_a_file_comes_back_read_only_and_public_tools_can_read_it(tmp_path):
    array = dense()
    codes = FeatureActivations.from_dense(array)
    codes.save(tmp_path / "codes.safetensors")
    again = FeatureActivations.load(tmp_path / "codes.safetensors")
    np.testing.assert_array_equal(again.csr().toarray(), array)
    np.testing.assert_array_equal(again.csc().toarray(), array)
    assert all(getattr(again, name).flags.aligned for name in ("feature_indptr", "row_indptr", "row_values"))
    with pytest.raises(ValueError):
        again.feature(0)[1][:] = 1
    public = load_file(tmp_path / "codes.safetensors")
    np.testing.assert_array_equal(public["feature_rows"], codes.feature_rows)


@pytest.mark.parametrize("shape", [(0, 3), (3, 1), (2, 0)])
def test_nothing_active_is_fine(tmp_path, shape):
    codes = FeatureActivations.from_dense(np.zeros(shape, np.float32))
    codes.save(tmp_path / "codes.safetensors")
    again = FeatureActivations.load(tmp_path / "codes.safetensors")
    assert (again.n_rows, again.d_sae, again.nnz) == (*shape, 0)
    assert again.sums.shape == (shape[1],)


def test_what_is_not_there_is_named():
    codes = FeatureActivations.from_dense(dense())
    with pytest.raises(UserError, match="no feature 13: .* 0 to 12"):
        codes.feature(13)
    with pytest.raises(UserError, match="no row -1"):
        codes.row(-1)


def change(name, edit):
    def broken(arrays):
        arrays[name] = edit(arrays[name].copy())

    return broken


def put(place, value):
    def edit(array):
        array[place] = value
        return array

    return edit


@pytest.mark.parametrize(
    "broken, message",
    [
        (change("feature_rows", put(0, 40)), "outside 0 to 39"),
        (change("row_features", put(0, -1)), "outside"),
        (change("feature_indptr", put(1, 10_000)), "rise"),
        (change("row_indptr", put(-1, 3)), "rise"),
        (change("feature_values", put(2, np.nan)), "NaN"),
        (change("feature_values", lambda a: a[:-1]), "lengths"),
        (change("feature_values", lambda a: a.astype(np.float64)), "type"),
        (change("feature_rows", lambda a: a[::-1].copy()), "disagree|ascending"),
        (change("row_features", lambda a: np.roll(a, 1)), "disagree|ascending"),
        (lambda arrays: arrays.pop("row_values"), "holds"),
        (lambda arrays: arrays.update({"../../x": np.zeros(1)}), "holds"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, broken, message):
    path = tmp_path / "codes.safetensors"
    FeatureActivations.from_dense(dense()).save(path)
    arrays = load_file(path)
    broken(arrays)
    save_file(arrays, path)
    with pytest.raises(UserError, match=message) as error:
        FeatureActivations.load(path)
    assert "codes.safetensors" in str(error.value)


def test_bytes_that_are_no_safetensors_are_refused(tmp_path):
    path = tmp_path / "codes.safetensors"
    with pytest.raises(UserError, match="missing"):
        FeatureActivations.load(path)
    for content in (b"", b"abc", b"\xff" * 8 + b"x" * 50, (30).to_bytes(8, "little") + b"{" * 40):
        path.write_bytes(content)
        with pytest.raises(UserError, match="codes.safetensors"):
            FeatureActivations.load(path)
    FeatureActivations.from_dense(dense()).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(UserError, match="place in the file"):
        FeatureActivations.load(path)
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    header["row_values"]["shape"] = [1 << 60]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[-100:])
    with pytest.raises(UserError, match="place in the file|wrong type"):
        FeatureActivations.load(path)


def test_segments():
    values, indptr = np.array([1.0, 2.0, -3.0]), np.array([0, 0, 2, 2, 3, 3])
    np.testing.assert_array_equal(segment_sums(values, indptr), [0, 3, 0, -3, 0])
    np.testing.assert_array_equal(segment_maxima(values, indptr), [np.nan, 2, np.nan, -3, np.nan])
