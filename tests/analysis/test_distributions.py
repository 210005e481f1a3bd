import numpy as np
import pytest

from sae.analysis import distributions as module
from sae.analysis.codes import FeatureActivations
from sae.analysis.distributions import (
    activation_histogram,
    active_per_row,
    decoder_cosines,
    density_bands,
    rows_per_feature,
)
from tests.analysis.synthetic import planted


def test_active_features_of_a_row():
    x, codes = planted()
    found = active_per_row(codes)
    counts = (x != 0).sum(1)
    assert (found.mean, found.sd) == (pytest.approx(counts.mean()), pytest.approx(counts.std()))
    assert (found.q25, found.median, found.q75) == tuple(np.percentile(counts, [25, 50, 75]))
    assert (found.table["rows"] * found.table["active"]).sum() == codes.nnz and found.table["rows"].sum() == 300
    some = active_per_row(codes, np.arange(10))
    assert some.n_rows == 10 and some.mean == pytest.approx(counts[:10].mean())
    assert np.isnan(active_per_row(codes, np.array([], int)).mean)


def test_rows_of_a_feature_in_bins_that_leave_nobody_out():
    x, codes = planted()
    found = rows_per_feature(codes)
    counts = (x != 0).sum(0)
    assert found.n_dead == 1 and found.table["features"].sum() == 29
    for line in found.table.itertuples():
        assert line.features == ((counts >= line.low) & (counts <= line.high)).sum()
    assert (found.table["low"].to_numpy()[1:] == found.table["high"].to_numpy()[:-1] + 1).all()
    assert found.ranked.tolist() == sorted(counts[counts > 0], reverse=True)


@pytest.mark.parametrize("x", [np.zeros((4, 3)), np.zeros((0, 2)), np.ones((1, 1)), np.ones((20, 2))])
def test_bins_at_the_edges(x):
    found = rows_per_feature(FeatureActivations.from_dense(x.astype(np.float32)))
    assert found.table["features"].sum() == found.n_features - found.n_dead
    assert (found.table["high"] >= found.table["low"]).all()


@pytest.mark.parametrize("feature, bins", [(0, None), (12, None), (7, 1), (9, 1)])
def test_histogram_of_a_feature(feature, bins):
    x, codes = planted()
    values = x[x[:, feature] != 0, feature]
    found = activation_histogram(codes, feature)
    table = found.table
    assert table["rows"].sum() == len(values) == found.n_active and found.n_zero == 300 - len(values)
    assert found.density == pytest.approx(len(values) / 300)
    assert len(table) == bins if bins else 10 <= len(table) <= 61
    assert table["low"].iloc[0] <= values.min() and table["high"].iloc[-1] >= values.max()
    mixed = (table["low"] < -1e-9) & (table["high"] > 1e-9)
    assert not mixed.any()


def test_histogram_of_a_dead_feature_and_of_outliers():
    _, codes = planted()
    dead = activation_histogram(codes, 6)
    assert len(dead.table) == 0 and dead.n_zero == 300 and np.isnan(dead.maximum)
    wild = np.concatenate([np.ones(500), [1e6]]).astype(np.float32)[:, None]
    assert len(activation_histogram(FeatureActivations.from_dense(wild), 0).table) == 60


def test_bands_of_density():
    counts = np.array([0, 0, 1, 9, 10, 1000, 1001, 50_000, 50_001, 100_000])
    table = density_bands(counts, 100_000).set_index("band")
    assert table["features"].to_dict() == {"dead": 2, "ultra-low": 2, "rare": 1, "normal": 3, "dense": 2}
    assert table["share"].sum() == pytest.approx(1)
    assert density_bands(np.zeros(0, int), 0)["features"].sum() == 0


def test_cosines_of_all_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    W_dec = rng.normal(size=(700, 20)).astype(np.float32)
    W_dec[5] = 0
    alive = np.arange(700) != 9
    found = decoder_cosines(W_dec, alive)
    kept = W_dec[[j for j in range(700) if j not in (5, 9)]]
    cosines = np.corrcoef(kept) * 0 + (kept @ kept.T) / np.outer(*[np.linalg.norm(kept, axis=1)] * 2)
    expected = np.histogram(cosines[np.triu_indices(len(kept), 1)], np.linspace(-1, 1, 81))[0]
    assert np.abs(found.table["pairs"] - expected).sum() <= 6  # float32 at the edges of bins
    assert found.table["pairs"].sum() == 698 * 697 // 2 and not found.sampled
    # these directions are random, so the null fits them
    assert np.abs(found.table["pairs"] - found.table["expected"]).max() < 0.02 * found.table["pairs"].sum()
    monkeypatch.setattr(module, "_MOST_SAMPLED", 100)
    few = decoder_cosines(W_dec, alive)
    assert few.sampled and few.n_features == 100 and few.table["pairs"].sum() == 4950
    assert decoder_cosines(W_dec, np.zeros(700, bool)).table["pairs"].sum() == 0
