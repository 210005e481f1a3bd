"""Tails and measures of 2 x 2 tables against scipy and scikit-learn, one pair at a time."""

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom
from sklearn.metrics import f1_score, matthews_corrcoef, mutual_info_score, precision_score, recall_score

from sae.analysis.contingency import entropy, measures, upper_tail


def tables(count=400, seed=0):
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 400, count)
    active, having = rng.integers(0, n + 1), rng.integers(0, n + 1)
    low, high = np.maximum(0, active + having - n), np.minimum(active, having)
    return rng.integers(low, high + 1), n, active, having


def test_the_tail_is_that_of_scipy():
    both, n, active, having = tables()
    expected = hypergeom.sf(both - 1, n, active, having)
    assert upper_tail(both, n, active, having) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_the_tail_is_fishers():
    for both, n, active, having in zip(*tables(60, 1), strict=True):
        cells = [[both, active - both], [having - both, n - active - having + both]]
        expected = fisher_exact(cells, alternative="greater").pvalue
        assert float(upper_tail(both, n, active, having)) == pytest.approx(expected, rel=1e-6)


def test_the_tail_far_out_and_at_its_ends():
    assert float(upper_tail(900, 7000, 1000, 900)) == pytest.approx(hypergeom.sf(899, 7000, 1000, 900), rel=1e-6)
    assert float(upper_tail(3000, 7000, 3000, 3000)) == 0.0  # below the smallest float
    assert float(upper_tail(0, 10, 4, 3)) == 1.0
    assert float(upper_tail(4, 10, 4, 3)) == 0.0
    assert float(upper_tail(0, 0, 0, 0)) == 1.0
    assert upper_tail(np.empty(0, int), 5, 1, 1).shape == (0,)


def test_measures_are_those_of_scikit_learn():
    for both, n, active, having in zip(*tables(80, 2), strict=True):
        if not (0 < active < n and 0 < having < n):
            continue
        label = np.r_[np.ones(having), np.zeros(n - having)]
        fires = np.r_[
            np.ones(both), np.zeros(having - both), np.ones(active - both), np.zeros(n - having - active + both)
        ]
        found = {name: float(value) for name, value in measures(both, n, active, having).items()}
        assert found["precision"] == pytest.approx(precision_score(label, fires, zero_division=0))
        assert found["recall"] == pytest.approx(recall_score(label, fires))
        assert found["f1"] == pytest.approx(f1_score(label, fires, zero_division=0))
        assert found["phi"] == pytest.approx(matthews_corrcoef(label, fires), abs=1e-12)
        assert found["mutual_information"] == pytest.approx(mutual_info_score(label, fires) / np.log(2), abs=1e-9)
        assert found["lift"] == pytest.approx(label[fires == 1].mean() / label.mean())
        assert found["gain"] == pytest.approx((label[fires == 1].mean() - label.mean()) / (1 - label.mean()))
        spread = [-sum(q * np.log(q) for q in (p, 1 - p) if q > 0) for p in (label.mean(), label[fires == 1].mean())]
        assert found["specificity"] == pytest.approx((spread[0] - spread[1]) / spread[0], abs=1e-9)


def test_measures_where_nothing_is_active():
    found = {name: float(value) for name, value in measures(0, 50, 0, 10).items()}
    assert found["f1"] == 0 and found["recall"] == 0 and found["mutual_information"] == 0
    assert all(np.isnan(found[name]) for name in ("precision", "lift", "gain", "phi", "specificity"))


def test_entropy_in_bits():
    counts = np.array([[1, 4, 0], [1, 0, 0], [2, 0, 0]])
    assert entropy(counts)[:2] == pytest.approx([1.5, 0.0])
    assert np.isnan(entropy(counts)[2])
