import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from sae.analysis.codes import FeatureActivations
from sae.analysis.examples import STRATA, base_rates, feature_examples, stratum_title, token_values, wilson
from sae.common.errors import UserError
from tests.analysis.synthetic import planted


def one_feature(values):
    return FeatureActivations.from_dense(np.asarray(values, np.float32)[:, None])


def test_one_row_an_example_its_strongest():
    x, codes = planted(600)
    example = np.arange(600) // 4
    found = feature_examples(codes, 12, example=example, per_stratum=6)
    strength = np.abs(x[:, 12])
    best = pd.Series(strength).groupby(example).max().sort_values(ascending=False)
    top = found[found["stratum"] == "top"]
    assert top["example"].tolist() == best.index[:6].tolist()
    np.testing.assert_array_equal(np.abs(top["activation"]), best.iloc[:6].astype(np.float32))
    np.testing.assert_array_equal(found["activation"], x[found["row"], 12])
    np.testing.assert_array_equal(found["example"], example[found["row"]])
    banded = found[found["stratum"].isin(["top", "near_top", "middle", "lower"])]
    assert banded["example"].is_unique
    silent = found[found["stratum"] == "not_active"]
    assert len(silent) == 6 and (best[silent["example"]] == 0).all()


def test_only_rows_that_are_wanted():
    x, codes = planted(600)
    example = np.arange(600) // 4
    keep = (example % 3) == 1
    found = feature_examples(codes, 12, example=example, per_stratum=5, keep=keep)
    assert {"top", "random", "not_active"} <= set(found["stratum"]) and keep[found["row"]].all()
    strength = np.where(keep, np.abs(x[:, 12]), 0)
    best = pd.Series(strength).groupby(example).max().sort_values(ascending=False)
    assert found.query("stratum == 'top'")["example"].tolist() == best.index[:5].tolist()
    # An example of which only another row fires is not silent, though that row is left out.
    values = np.array([1.0, 0, 0, 0])
    found = feature_examples(one_feature(values), 0, example=np.array([0, 0, 1, 1]), keep=np.array([0, 1, 0, 1]))
    assert found[["row", "stratum"]].values.tolist() == [[3, "not_active"]]
    with pytest.raises(UserError, match="keep has shape"):
        feature_examples(codes, 12, keep=keep[:-1])


def test_all_rows_where_an_example_may_repeat():
    x, codes = planted(600)
    example = np.zeros(600, int)
    assert (feature_examples(codes, 12, example=example)["stratum"] == "top").sum() == 1
    found = feature_examples(codes, 12, example=example, one_per_example=False, per_stratum=7)
    expected = np.argsort(-np.abs(x[:, 12]), kind="stable")[:7]
    assert found[found["stratum"] == "top"]["row"].tolist() == expected.tolist()
    assert (found["stratum"] == "not_active").sum() == 7


@pytest.mark.parametrize("bands", ["quantile", "width"])
def test_bands(bands):
    values = np.concatenate([np.linspace(1, 2, 90), np.linspace(2.1, 10, 10), np.zeros(20)])
    found = feature_examples(one_feature(values), 0, per_stratum=200, bands=bands)
    assert (found["stratum"] == "top").sum() == 100  # all active rows fit into the top
    found = feature_examples(one_feature(values), 0, per_stratum=3, bands=bands, seed=1)
    active = values[values > 0]
    for stratum, low, high in (("near_top", 0.9, 1), ("middle", 0.5, 0.9), ("lower", 0, 0.5)):
        if bands == "width":
            low, high = {"near_top": (2 / 3, 1), "middle": (1 / 3, 2 / 3), "lower": (0, 1 / 3)}[stratum]
            edges = 1 + 9 * np.array([low, high])
        else:
            edges = np.quantile(active, [low, high])
        chosen = found[found["stratum"] == stratum]["activation"]
        assert len(chosen) == 3 or (bands == "width" and stratum == "near_top" and len(chosen) == 1)
        assert chosen.between(edges[0] - 1e-6, edges[1] + 1e-6).all()
        assert chosen.is_monotonic_decreasing


def test_the_random_draw_is_unbiased_and_seeded():
    codes = one_feature(np.arange(1, 101))
    means = [
        feature_examples(codes, 0, seed=seed).query("stratum == 'random'")["activation"].mean() for seed in range(80)
    ]
    assert np.mean(means) == pytest.approx(50.5, abs=4)
    pd.testing.assert_frame_equal(feature_examples(codes, 0, seed=4), feature_examples(codes, 0, seed=4))


def test_silent_rows_stand_where_active_rows_stand():
    position = np.tile([0, 1, 2], 400)
    values = np.zeros(1200)
    values[(position == 1) & (np.arange(1200) < 300)] = 1.0
    found = feature_examples(one_feature(values), 0, position=position, per_stratum=50)
    silent = found[found["stratum"] == "not_active"]["row"].to_numpy()
    assert len(silent) == 50 and (position[silent] == 1).all() and (values[silent] == 0).all()
    # where the feature fires on every row of that position any silent row must do
    values = np.where(position == 1, 1.0, 0.0)
    found = feature_examples(one_feature(values), 0, position=position, per_stratum=5)
    assert (found["stratum"] == "not_active").sum() == 5


def test_near_misses_by_pre_activation():
    values, pre = np.zeros(50), np.linspace(-3, 2, 50)
    values[40:] = pre[40:]
    found = feature_examples(one_feature(values), 0, pre_activation=pre, per_stratum=4)
    assert found[found["stratum"] == "near_miss"]["row"].tolist() == [0, 1, 2, 3]
    assert "not_active" not in set(found["stratum"])


@pytest.mark.parametrize("values, strata", [(np.zeros(9), {"not_active"}), (np.ones(9), {"top", "random"})])
def test_dead_and_always_on(values, strata):
    assert set(feature_examples(one_feature(values), 0)["stratum"]) == strata
    assert len(feature_examples(one_feature(np.zeros(0)), 0)) == 0


def test_strata_have_names():
    assert stratum_title("near_top") == "Near the top (90 to 100 percentile)"
    assert len({stratum_title(stratum, "width") for stratum in STRATA}) == len(STRATA)
    with pytest.raises(UserError, match="quantile or width"):
        feature_examples(one_feature(np.ones(3)), 0, bands="thirds")


def test_values_of_tokens():
    x, codes = planted()
    rows = np.array([5, 3, 299, 0, 17])
    for j in (0, 6, 9, 8):
        np.testing.assert_array_equal(token_values(codes, j, rows), x[rows, j])
    assert token_values(codes, 0, np.array([], int)).shape == (0,)


def test_base_rates_by_example():
    rng = np.random.default_rng(0)
    example = np.repeat(np.arange(100), 3)
    x = np.zeros((300, 1), np.float32)
    x[::7] = 1
    active = np.zeros(100, bool)
    active[example[x[:, 0] > 0]] = True
    labels = pd.DataFrame(
        {
            "correct": rng.random(100) < 0.4,
            "n_steps": rng.integers(2, 5, 100),
            "operations": [["+", "-"] if even else ["*"] for even in rng.random(100) < 0.5],
            "question": [f"text {i}" for i in range(100)],
        }
    )
    labels.loc[3, "n_steps"] = np.nan
    table = base_rates(FeatureActivations.from_dense(x), 0, labels, example=example)
    assert set(table["label"]) == {"correct", "n_steps", "operations"}  # a text is no label
    line = table[(table["label"] == "correct") & (table["value"] == True)].iloc[0]  # noqa: E712
    right = labels["correct"].to_numpy()
    assert (line["n_active"], line["n_active_with"]) == (active.sum(), (active & right).sum())
    assert line["base_rate"] == pytest.approx(right.mean())
    interval = binomtest(int(line["n_active_with"]), int(line["n_active"])).proportion_ci(method="wilson")
    assert (line["low"], line["high"]) == pytest.approx(tuple(interval))
    steps = table[table["label"] == "n_steps"]
    assert (steps["n"] == 99).all()
    plus = table[(table["label"] == "operations") & (table["value"] == "+")].iloc[0]
    assert plus["n_with"] == sum("+" in cell for cell in labels["operations"])


def test_a_share_of_few_is_refused():
    x = np.zeros((60, 2), np.float32)
    x[:19, 0] = x[:20, 1] = 1
    codes, labels = FeatureActivations.from_dense(x), pd.DataFrame({"correct": [True, False] * 30})
    few, enough = base_rates(codes, 0, labels), base_rates(codes, 1, labels)
    assert not few["enough"].any() and few[["share", "low", "high", "difference"]].isna().all(axis=None)
    assert few["n_active"].tolist() == [19, 19] and few["base_rate"].tolist() == [0.5, 0.5]
    assert enough["enough"].all() and enough["share"].tolist() == [0.5, 0.5]
    assert len(base_rates(codes, 0, labels[[]])) == 0
    with pytest.raises(UserError, match="don't fit"):
        base_rates(codes, 0, labels.iloc[:5])


def test_wilson_at_its_ends():
    low, high = wilson(np.array([0, 20, 0]), np.array([20, 20, 0]))
    assert low[0] == 0 and high[1] == 1 and high[0] == pytest.approx(0.1611, abs=1e-4)
    assert np.isnan(low[2])
