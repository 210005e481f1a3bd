"""Codes written piece by piece against the same ones sorted in memory."""

import numpy as np
import pandas as pd
import pytest

from sae.analysis import codes_file
from sae.analysis.codes import FeatureActivations, feature_ranges
from sae.analysis.codes_file import write_codes
from sae.analysis.features import feature_table
from sae.common.errors import UserError


@pytest.fixture
def entries():
    """(row_indptr, features, values) of 500 rows with 0 to 7 of 40 features."""
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((500, 40)) * (generator.random((500, 40)) < 0.1)
    dense[17] = 0
    dense[:, 5] = 0
    rows, features = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=500))])
    return indptr, features.astype(np.int32), dense[rows, features].astype(np.float32)


@pytest.mark.parametrize("at_once", [1, 60, 10**6])
def test_pieces_make_the_same_file(entries, tmp_path, monkeypatch, at_once):
    expected = FeatureActivations.from_rows(entries[0], entries[1], entries[2], 40)
    monkeypatch.setattr(codes_file, "IN_MEMORY", 100)
    monkeypatch.setattr(codes_file, "AT_ONCE", at_once)
    found = write_codes(tmp_path / "codes.safetensors", entries[0], entries[1], entries[2], 40)
    again = FeatureActivations.load(tmp_path / "codes.safetensors")
    for codes in (found, again):
        for name in ("feature_indptr", "feature_rows", "feature_values", "row_indptr", "row_features", "row_values"):
            np.testing.assert_array_equal(getattr(codes, name), getattr(expected, name))
            assert getattr(codes, name).dtype == getattr(expected, name).dtype
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(tmp_path / "codes.safetensors")["row_values"], expected.row_values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, f, v: (p, np.where(np.arange(len(f)) == 9, 40, f), v), "outside 0 to 39"),
        (lambda p, f, v: (p, f, np.where(np.arange(len(v)) == 9, np.nan, v)), "NaN or infinite"),
        (lambda p, f, v: (p, f, np.where(np.arange(len(v)) == 9, 0, v)), "is 0"),
        (lambda p, f, v: (p, np.repeat(f[::2], 2)[: len(f)], v), "not in ascending order"),
        (lambda p, f, v: (p[:-1], f, v), "don't fit together"),
    ],
)
def test_what_can_not_be_is_refused_and_leaves_nothing(entries, tmp_path, monkeypatch, change, said):
    monkeypatch.setattr(codes_file, "IN_MEMORY", 100)
    indptr, features, values = change(*entries)
    with pytest.raises(UserError, match=said):
        write_codes(tmp_path / "codes.safetensors", indptr, features, values, 40)
    assert not list(tmp_path.iterdir())


def test_a_table_in_ranges_equals_a_table_in_one(entries, monkeypatch):
    codes = FeatureActivations.from_rows(entries[0], entries[1], entries[2], 40)
    split = np.where(np.arange(500) % 5, "train", "validation")
    given = {"split": split, "example": np.arange(500) // 3}
    whole = feature_table(codes, **given)
    monkeypatch.setattr("sae.analysis.features.feature_ranges", lambda indptr: feature_ranges(indptr, 30))
    parts = feature_table(FeatureActivations.from_rows(entries[0], entries[1], entries[2], 40), **given)
    assert len(list(feature_ranges(codes.feature_indptr, 30))) > 10
    pd.testing.assert_frame_equal(whole, parts)


def test_ranges_cover_all_and_hold_what_they_may():
    indptr = np.array([0, 0, 3, 4, 20, 20, 21])
    assert list(feature_ranges(indptr, 4)) == [(0, 3), (3, 4), (4, 6)]
    assert list(feature_ranges(indptr, 100)) == [(0, 6)]
    assert list(feature_ranges(np.array([0]))) == []


def test_a_sample_of_rows_has_their_activations(entries):
    codes = FeatureActivations.from_rows(entries[0], entries[1], entries[2], 40)
    assert codes.sample(codes.nnz) is codes
    few = codes.sample(200)
    assert few.n_rows == int(200 * 500 / codes.nnz) and few.d_sae == 40
    np.testing.assert_array_equal(few.csr().toarray(), codes.csr().toarray()[: few.n_rows])  # less than one run of rows
