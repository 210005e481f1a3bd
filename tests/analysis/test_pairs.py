from math import comb

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from sae.analysis import pair_products
from sae.analysis.codes import FeatureActivations
from sae.analysis.pair_chance import pair_interval, permutation_maximum
from sae.analysis.pair_products import MEASURES
from sae.analysis.pairs import (
    anticorrelated_pairs,
    correlated_pairs,
    pair_rows,
    pearson_block,
    top_partners,
)
from sae.common.errors import UserError
from sae.common.false_discovery import benjamini_hochberg
from tests.analysis.synthetic import planted


def by_hand(x):
    """Every measure of every pair a < b from the dense array."""
    x = x.astype(float)
    on = x != 0
    with np.errstate(all="ignore"):
        r, phi = np.corrcoef(x.T), np.corrcoef(on.T.astype(float))
    lines = []
    for a in range(x.shape[1]):
        for b in range(a + 1, x.shape[1]):
            both, either = (on[:, a] & on[:, b]).sum(), (on[:, a] | on[:, b]).sum()
            n_a, n_b = on[:, a].sum(), on[:, b].sum()
            with np.errstate(all="ignore"):
                lift = both / len(x) / (n_a / len(x) * n_b / len(x))
                cosine = x[:, a] @ x[:, b] / np.linalg.norm(x[:, a]) / np.linalg.norm(x[:, b])
            lines.append((a, b, n_a, n_b, both, r[a, b], phi[a, b], both / max(either, 1), lift, cosine))
    return pd.DataFrame(lines, columns=["a", "b", "n_a", "n_b", "n_both", *MEASURES])


@pytest.mark.parametrize("entries", [16_000_000, 100])
@pytest.mark.parametrize("by", MEASURES)
def test_every_supported_pair_against_dense_arithmetic(monkeypatch, by, entries):
    monkeypatch.setattr(pair_products, "BLOCK_ENTRIES", entries)
    x, codes = planted()
    found = correlated_pairs(codes, by=by, min_support=3)
    expected = by_hand(x)
    expected = expected[(expected["n_both"] >= 3) & expected[by].notna()]
    assert len(found) == len(expected) > 200
    assert (found[by].abs().diff().dropna() <= 1e-12).all()
    merged = found.merge(expected, on=["a", "b"], suffixes=("", "_hand"))
    assert len(merged) == len(found)
    for name in ("n_a", "n_b", "n_both", *MEASURES):
        np.testing.assert_allclose(merged[name], merged[f"{name}_hand"], atol=1e-9, err_msg=name)


def test_the_planted_pairs_come_first_and_top_cuts():
    x, codes = planted()
    found = correlated_pairs(codes, top=2)
    assert found[["a", "b"]].to_numpy().tolist() == [[2, 3], [0, 1]]
    assert found["pearson"][0] == pytest.approx(-1) and found["phi"][0] == pytest.approx(1)
    whole = correlated_pairs(codes, top=10_000)
    pd.testing.assert_frame_equal(
        correlated_pairs(codes, top=50).drop(columns="q_value"), whole.iloc[:50].drop(columns="q_value")
    )


def test_p_values_against_exact_counting_and_q_over_all_living_pairs():
    x, codes = planted()
    found = correlated_pairs(codes, top=10_000, min_support=1)
    n = len(x)
    for line in found.iloc[::29].itertuples():
        most = min(line.n_a, line.n_b)
        ways = sum(comb(line.n_a, k) * comb(n - line.n_a, line.n_b - k) for k in range(line.n_both, most + 1))
        assert line.p_value == pytest.approx(ways / comb(n, line.n_b), rel=1e-7, abs=1e-290)
    pairs = 29 * 28 // 2  # one of the 30 is dead
    padded = np.concatenate([found["p_value"], np.ones(pairs - len(found))])
    np.testing.assert_allclose(found["q_value"], false_discovery_control(padded)[: len(found)], rtol=1e-9)


def test_q_of_a_cut_list_is_never_smaller():
    _, codes = planted()
    whole = correlated_pairs(codes, top=10_000, min_support=1).set_index(["a", "b"])["q_value"]
    cut = correlated_pairs(codes, top=40).set_index(["a", "b"])["q_value"]
    assert (cut >= whole.loc[cut.index] - 1e-12).all()
    assert benjamini_hochberg(np.array([]), 0).shape == (0,)


@pytest.mark.parametrize("entries", [16_000_000, 100])
def test_pairs_that_avoid_each_other(monkeypatch, entries):
    monkeypatch.setattr(pair_products, "BLOCK_ENTRIES", entries)
    x, codes = planted(signed=False)
    found = anticorrelated_pairs(codes, min_expected=5)
    assert found[["a", "b"]].to_numpy().tolist()[0] in ([2, 3], [4, 5])
    expected = by_hand(x)
    expected = expected[(expected["n_a"] * expected["n_b"] / len(x) >= 5) & (expected["pearson"] < 0)]
    merged = found.merge(expected, on=["a", "b"], suffixes=("", "_hand"))
    assert len(merged) == len(found) == len(expected)
    np.testing.assert_allclose(merged["pearson"], merged["pearson_hand"], atol=1e-9)
    assert (found["pearson"].diff().dropna() >= -1e-12).all()
    excluded = found[(found["a"] == 4) & (found["b"] == 5)].iloc[0]
    assert excluded["n_both"] == 0 and excluded["p_value"] < 1e-60


@pytest.mark.parametrize("feature", [0, 4, 8, 9])
def test_partners_of_one_feature(feature):
    x, codes = planted()
    hand = by_hand(x)
    mine = pd.concat(
        [
            hand[hand["a"] == feature].rename(columns={"b": "feature"}),
            hand[hand["b"] == feature].rename(columns={"a": "feature"}),
        ]
    )
    mine = mine[mine["pearson"].notna()].sort_values("pearson", ascending=False)
    found = top_partners(codes, feature, 5)
    positive, negative = found[found["sign"] == "positive"], found[found["sign"] == "negative"]
    assert positive["feature"].tolist() == mine["feature"].tolist()[:5]
    np.testing.assert_allclose(negative["pearson"], mine["pearson"].to_numpy()[::-1][:5], atol=1e-9)
    merged = found.merge(mine, on="feature", suffixes=("", "_hand"))
    for name in ("n_both", *MEASURES):
        np.testing.assert_allclose(merged[name], merged[f"{name}_hand"], atol=1e-9, err_msg=name)


def test_a_feature_that_does_not_vary_has_no_partners():
    _, codes = planted()
    assert len(top_partners(codes, 6)) == 0 and len(top_partners(codes, 7)) == 0
    with pytest.raises(UserError, match="no feature 30"):
        top_partners(codes, 30)


def test_block_against_corrcoef():
    x, codes = planted()
    chosen = [8, 0, 1, 6, 3, 2, 7]
    with np.errstate(all="ignore"):
        expected = np.corrcoef(x[:, chosen].astype(float).T)
    np.testing.assert_allclose(pearson_block(codes, np.array(chosen)), expected, atol=1e-9)
    assert pearson_block(codes, np.array([], int)).shape == (0, 0)


def test_rows_of_a_pair():
    x, codes = planted()
    rows = pair_rows(codes, 0, 12)
    either = (x[:, 0] != 0) | (x[:, 12] != 0)
    np.testing.assert_array_equal(rows["row"], np.flatnonzero(either))
    np.testing.assert_array_equal(rows[["value_a", "value_b"]], x[either][:, [0, 12]])
    assert (rows["which"] == "both").sum() == ((x[:, 0] != 0) & (x[:, 12] != 0)).sum()
    assert set(pair_rows(codes, 4, 5)["which"]) == {"only a", "only b"}
    assert len(pair_rows(codes, 6, 6)) == 0


def test_interval_against_a_plain_bootstrap_by_example():
    x, codes = planted()
    example = np.arange(len(x)) // 3
    found = pair_interval(codes, 0, 1, example, n_boot=600, seed=3)
    assert found.pearson == pytest.approx(np.corrcoef(x[:, 0], x[:, 1])[0, 1])
    assert found.n_examples == 100
    rng = np.random.default_rng(11)
    members = [np.flatnonzero(example == e) for e in range(100)]
    plain = []
    for _ in range(600):
        rows = np.concatenate([members[e] for e in rng.integers(0, 100, 100)])
        plain.append(np.corrcoef(x[rows, 0], x[rows, 1])[0, 1])
    np.testing.assert_allclose([found.low, found.high], np.quantile(plain, [0.025, 0.975]), atol=0.03)
    assert pair_interval(codes, 0, 1, example, n_boot=50, seed=3) == pair_interval(
        codes, 0, 1, example, n_boot=50, seed=3
    )


def test_interval_where_there_is_none():
    x, codes = planted()
    assert np.isnan(pair_interval(codes, 0, 6).pearson) and np.isnan(pair_interval(codes, 0, 7).low)
    one = pair_interval(codes, 0, 1, np.zeros(len(x), int), n_boot=20)
    assert one.n_examples == 1 and one.low == pytest.approx(one.high)  # one example: nothing to resample
    with pytest.raises(UserError, match="300 rows"):
        pair_interval(codes, 0, 1, np.zeros(5))


@pytest.mark.parametrize("length", [1, 3])
def test_permutation_maximum_is_what_chance_reaches(length):
    x, codes = planted(signed=False)
    keep = [*range(10, 30)]
    codes = FeatureActivations.from_dense(x[:, keep])
    example = np.arange(len(x)) // length
    found = permutation_maximum(codes, example, n=19, seed=0)
    assert found.bound == found.maxima.max() and len(set(found.maxima)) > 10
    rng = np.random.default_rng(5)  # the same null by dense brute force
    blocks = np.arange(len(x)).reshape(-1, length)
    plain = []
    for _ in range(60):
        moved = np.column_stack([x[blocks[rng.permutation(len(blocks))].reshape(-1), j] for j in keep])
        both = (moved != 0).astype(int).T @ (moved != 0)
        r = np.where(both >= 5, np.abs(np.corrcoef(moved.T)), 0)
        np.fill_diagonal(r, 0)
        plain.append(r.max())
    assert np.mean(found.maxima) == pytest.approx(np.mean(plain), abs=0.03)


def test_permutation_keeps_examples_of_different_lengths_whole_and_finds_planted_pairs():
    x, codes = planted()
    example = np.sort(np.random.default_rng(0).integers(0, 90, len(x)))
    found = permutation_maximum(codes, example, n=19)
    assert found.n_examples == len(set(example)) and 0.1 < found.bound < 0.9
    assert correlated_pairs(codes, top=2)["pearson"].abs().min() > found.bound
    # an example's rows move together: one example in all means that nothing moves
    still = permutation_maximum(codes, np.zeros(len(x), int), n=19)
    np.testing.assert_allclose(still.maxima, correlated_pairs(codes, top=1)["pearson"].abs()[0])
    with pytest.raises(UserError, match="take 19 or more"):
        permutation_maximum(codes, n=10)


def test_extra_columns():
    x, codes = planted()
    W_dec = np.random.default_rng(0).normal(size=(30, 5))
    example = np.arange(len(x)) // 10
    found = correlated_pairs(codes, top=5, W_dec=W_dec, example=example)
    line = found.iloc[1]
    a, b = int(line["a"]), int(line["b"])
    cosine = W_dec[a] @ W_dec[b] / np.linalg.norm(W_dec[a]) / np.linalg.norm(W_dec[b])
    assert line["decoder_cosine"] == pytest.approx(cosine)
    assert line["n_examples_both"] == len(set(example[(x[:, a] != 0) & (x[:, b] != 0)]))


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.zeros((5, 3)), np.ones((5, 1)), np.ones((9, 2)), np.eye(4)])
def test_nothing_to_list(x):
    codes = FeatureActivations.from_dense(x.astype(np.float32))
    assert len(correlated_pairs(codes)) == 0 and len(anticorrelated_pairs(codes)) == 0
    assert permutation_maximum(codes).bound == 0
    assert {"a", "b", "q_value"} <= set(correlated_pairs(codes).columns)


def test_requests_that_make_no_sense():
    _, codes = planted()
    for wrong in ({"by": "spearman"}, {"top": 0}, {"min_support": 0}):
        with pytest.raises(UserError):
            correlated_pairs(codes, **wrong)
    with pytest.raises(UserError, match="pearson or phi"):
        anticorrelated_pairs(codes, by="lift")
