"""Matching features of two SAEs against scipy's dense assignment, numpy's correlations and directions drawn by hand."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from sae.analysis import matching_assignment
from sae.analysis.codes import FeatureActivations
from sae.analysis.matching import match_activations, match_directions
from sae.analysis.matching_assignment import assign
from sae.analysis.matching_blocks import ActivationCorrelations, DecoderCosines
from sae.analysis.matching_null import best_alike_cosines, best_random_cosine
from sae.common.errors import UserError


def decoders(seed, n, m, d, shared=0, mean=0.0):
    """Rows of [n, d] and [m, d]; `shared` of them found again with noise, and a mean that all share."""
    generator = np.random.default_rng(seed)
    a, b = generator.standard_normal((n, d)), generator.standard_normal((m, d))
    again = generator.permutation(min(n, m))[:shared]
    a[again] = b[again[::-1]] + np.linspace(0, 1.5, shared)[:, None] * a[again]
    common = mean * generator.standard_normal(d)
    return a + common, b + common


def cosines(a, b):
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize(
    ("n", "m", "d", "shared", "mean", "candidates"),
    [
        (300, 300, 48, 150, 0.0, 8),
        (1_000, 1_000, 64, 400, 0.0, 32),
        (700, 1_000, 16, 0, 0.5, 4),  # nothing in common, a shared mean, few candidates
        (1_000, 600, 24, 300, 0.0, 6),  # more rows than columns
        (200, 200, 2, 0, 0.0, 3),  # directions of a plane: nearly all alike
    ],
)
def test_the_total_is_that_of_the_dense_assignment(n, m, d, shared, mean, candidates):
    a, b = decoders(n + d, n, m, d, shared, mean)
    found = assign(DecoderCosines(a, b), candidates)
    table = np.maximum(cosines(a, b), 0)
    best = table[linear_sum_assignment(-table)].sum()
    assert found.total == pytest.approx(best, abs=1e-4)
    assert found.gap <= 1e-4 and found.total + found.gap >= best - 1e-4
    partners = found.partner[found.partner >= 0]
    assert len(np.unique(partners)) == len(partners)
    table = cosines(a, b)
    assert found.best_value == pytest.approx(table.max(axis=1), abs=1e-6)
    assert found.column_best_value == pytest.approx(table.max(axis=0), abs=1e-6)


def test_the_gap_is_true_where_the_assignment_stops_early(monkeypatch):
    monkeypatch.setattr(matching_assignment, "ROUNDS", 1)
    a, b = decoders(5, 400, 400, 3)
    found = assign(DecoderCosines(a, b), candidates=2)
    table = np.maximum(cosines(a, b), 0)
    best = table[linear_sum_assignment(-table)].sum()
    assert found.total < best - 1e-3  # otherwise this shows nothing
    assert found.total + found.gap >= best - 1e-4


def test_blocks_change_nothing(monkeypatch):
    a, b = decoders(2, 130, 170, 20, 60)
    whole = assign(DecoderCosines(a, b), 7)
    monkeypatch.setattr(matching_assignment, "_BLOCK_ENTRIES", 900)
    pieces = assign(DecoderCosines(a, b), 7)
    assert pieces.total == pytest.approx(whole.total, abs=1e-6)
    assert (pieces.best == whole.best).all() and (pieces.column_best == whole.column_best).all()


def test_shuffled_features_are_found_again_and_the_dead_stay_out():
    generator = np.random.default_rng(0)
    W = generator.standard_normal((60, 12)).astype(np.float32)
    order = generator.permutation(60)
    living_a, living_b = np.ones(60, bool), np.ones(60, bool)
    living_a[[3, 9]] = living_b[np.flatnonzero(np.isin(order, [3, 9, 20]))] = False
    found = match_directions(W, W[order] * 2, living_a, living_b)
    table = found.features.set_index("feature")
    assert 3 not in table.index and 9 not in table.index and len(found.others) == 57
    kept = [j for j in table.index if j != 20]
    assert [order[table.loc[j, "partner"]] for j in kept] == kept
    assert table.loc[kept, "similarity"].to_numpy() == pytest.approx(1)
    assert table.loc[20, "nearest_similarity"] < 1
    turned = found.swapped()
    partner = turned.features.set_index("feature")["partner"]
    for j in kept:
        assert partner[table.loc[j, "partner"]] == j


def test_directions_of_either_sign():
    W = np.random.default_rng(1).standard_normal((20, 8)).astype(np.float32)
    living = np.ones(20, bool)
    assert match_directions(W, -W, living, living, unsigned=True).features["similarity"].to_numpy() == pytest.approx(1)
    assert match_directions(W, -W, living, living).features["similarity"].max() < 0.99


def test_correlations_are_those_of_numpy():
    generator = np.random.default_rng(3)
    one = generator.random((90, 12)) * (generator.random((90, 12)) < 0.3)
    other = np.hstack([one[:, ::-1] + 0.2 * (generator.random((90, 12)) < 0.1), generator.random((90, 4))])
    one[:, 4], other[:, 2] = 0, 0
    mine, theirs = np.flatnonzero(one.any(axis=0)), np.flatnonzero(other.any(axis=0))
    a, b = FeatureActivations.from_dense(one), FeatureActivations.from_dense(other)
    expected = np.corrcoef(one[:, mine].T, other[:, theirs].T)[: len(mine), len(mine) :]
    blocks = ActivationCorrelations(a, b, mine, theirs)
    assert blocks.rows(np.arange(len(mine))) == pytest.approx(expected, abs=1e-6)
    lines, columns = np.divmod(np.arange(expected.size), expected.shape[1])
    assert blocks.pairs(lines, columns) == pytest.approx(expected.ravel(), abs=1e-6)  # stored as float32
    found = match_activations(a, b)
    table = np.maximum(expected, 0)
    assert found.total == pytest.approx(table[linear_sum_assignment(-table)].sum(), abs=1e-4)
    assert found.features["feature"].tolist() == mine.tolist()
    with pytest.raises(UserError, match="not of the same rows"):
        match_activations(a, FeatureActivations.from_dense(other[:50]))


def test_a_feature_that_never_changes_has_no_correlation():
    one = np.random.default_rng(4).random((30, 3)) * [[1, 0, 1]] + [[0, 0.1, 0]]
    codes = FeatureActivations.from_dense(one)
    found = match_activations(codes, codes).features.set_index("feature")
    assert found.loc[1, "similarity"] == 0 and found.loc[[0, 2], "similarity"].to_numpy() == pytest.approx(1)


@pytest.mark.parametrize("unsigned", [False, True])
def test_the_best_of_random_directions_is_that_of_directions_drawn(unsigned):
    generator = np.random.default_rng(5)
    drawn = []
    for _ in range(400):
        others = generator.standard_normal((150, 40))
        found = others[:, 0] / np.linalg.norm(others, axis=1)  # with the first axis: any direction will do
        drawn.append((np.abs(found) if unsigned else found).max())
    quantiles = np.array([0.1, 0.5, 0.9])
    expected = best_random_cosine(quantiles, 150, 40, unsigned)
    assert expected == pytest.approx(np.quantile(drawn, quantiles), abs=0.015)
    assert best_random_cosine(0.5, 0, 40) == 0
    with pytest.raises(UserError, match="2 dimensions"):
        best_random_cosine(0.5, 10, 1)


def test_directions_spread_as_the_decoders_own():
    generator = np.random.default_rng(6)
    narrow = generator.standard_normal((500, 50)) * np.r_[np.full(4, 1.0), np.full(46, 0.02)]
    narrow /= np.linalg.norm(narrow, axis=1, keepdims=True)
    round_ones = generator.standard_normal((500, 50))
    round_ones /= np.linalg.norm(round_ones, axis=1, keepdims=True)
    uniform = float(best_random_cosine(0.5, 500, 50))
    assert np.median(best_alike_cosines(round_ones, round_ones, 300)) == pytest.approx(uniform, abs=0.02)
    assert np.median(best_alike_cosines(narrow, narrow, 300)) > 0.9 > uniform
    again = best_alike_cosines(narrow, narrow, 300)
    assert (again == best_alike_cosines(narrow, narrow, 300)).all() and (np.diff(again) >= 0).all()


def test_nothing_living_matches_nothing():
    W = np.eye(4, dtype=np.float32)
    nobody, all_of_them = np.zeros(4, bool), np.ones(4, bool)
    found = match_directions(W, W, nobody, all_of_them)
    assert found.features.empty and found.others["partner"].tolist() == [-1] * 4 and found.total == 0
    with pytest.raises(UserError, match="no common d_in"):
        match_directions(W, np.eye(5, dtype=np.float32), all_of_them, np.ones(5, bool))
    with pytest.raises(UserError, match="zero"):
        match_directions(np.zeros((4, 4), np.float32), W, all_of_them, all_of_them)
