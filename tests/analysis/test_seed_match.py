"""Matching features of two SAEs against a dense assignment, and where the answer is known."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from sae.analysis import seed_match
from sae.analysis.codes import FeatureActivations
from sae.analysis.seed_match import match, rows_permuted
from sae.common.errors import UserError


def bits(seed, n=150, d=14):
    on = np.random.default_rng(seed).random((n, d)) < 0.2
    on[:, 3], on[:, 5] = 0, 1
    return on.astype(np.float32)


def test_features_in_another_order_are_found_again():
    on = bits(0)
    order = np.random.default_rng(1).permutation(14)
    found = match(FeatureActivations.from_dense(on), FeatureActivations.from_dense(on[:, order]), 3)
    living = [j for j in range(14) if j not in (3, 5)]
    assert found.features["feature"].tolist() == living and found.living == 12
    assert [order[j] for j in found.features["partner"]] == living == [order[j] for j in found.features["nearest"]]
    assert found.matched == pytest.approx(1) and found.nearest == pytest.approx(1)


@pytest.mark.parametrize("block", [20, 16_000_000])
def test_against_the_dense_assignment(monkeypatch, block):
    monkeypatch.setattr(seed_match, "_BLOCK_ENTRIES", block)
    one, other = bits(0), np.hstack([bits(0)[:, ::-1] * bits(2), bits(3)])
    found = match(FeatureActivations.from_dense(one), FeatureActivations.from_dense(other), 50)
    mine, theirs = (np.flatnonzero((on.mean(0) > 0) & (on.mean(0) < 1)) for on in (one, other))
    phi = np.corrcoef(one[:, mine].T, other[:, theirs].T)[: len(mine), len(mine) :]
    lines, columns = linear_sum_assignment(-np.maximum(phi, 0))
    assert found.matched == pytest.approx(np.maximum(phi[lines, columns], 0).mean(), abs=1e-6)
    assert found.nearest == pytest.approx(phi.max(1).mean(), abs=1e-6)
    for line in found.features.itertuples():
        at = list(mine).index(line.feature)
        if line.partner >= 0:
            assert line.phi == pytest.approx(phi[at, list(theirs).index(line.partner)], abs=1e-6)
        assert line.nearest_phi == pytest.approx(phi[at].max(), abs=1e-6)
    partners = found.features["partner"]
    assert partners[partners >= 0].is_unique


def test_permuted_rows_keep_the_counts_and_lose_the_match():
    codes = FeatureActivations.from_dense(bits(0, n=2000))
    shuffled = rows_permuted(codes, 0)
    assert (shuffled.n_active == codes.n_active).all()
    assert match(codes, shuffled).nearest < 0.1 < match(codes, codes).nearest


def test_nothing_alive_matches_nothing():
    dead = FeatureActivations.from_dense(np.zeros((10, 3), np.float32))
    assert np.isnan(match(dead, dead).matched)
    some = FeatureActivations.from_dense(np.eye(10, 3, dtype=np.float32))
    assert match(some, dead).matched == 0
    with pytest.raises(UserError, match="can't be matched"):
        match(some, FeatureActivations.from_dense(np.eye(4, dtype=np.float32)))
