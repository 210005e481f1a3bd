"""Ablations against differences and intervals worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from sae.analysis.ablations import cells, differences, equal_levels, interpolated, matched_differences, over_seeds
from sae.analysis.seed_bands import by_rank, count_shares, over_training
from sae.common.errors import UserError

T_2 = 4.302652729911275  # t(0.975) with 2 degrees of freedom, from a table
FACTORS = ["alpha", "k", "seed"]


def runs(values, k=8):
    """alpha -> losses by seed, as lines."""
    return pd.DataFrame(
        [{"alpha": a, "k": k, "seed": s, "loss": v} for a, found in values.items() for s, v in enumerate(found)]
    )


def test_an_interval_over_three_seeds_by_hand():
    found = over_seeds([1.0, 2.0, 3.0])  # sd 1, standard error 1 / sqrt(3)
    assert (found["mean"], found["sd"], found["n"]) == (2, 1, 3)
    assert found["high"] - 2 == pytest.approx(T_2 / 3**0.5) and 2 - found["low"] == pytest.approx(T_2 / 3**0.5)


def test_one_seed_has_no_interval_and_none_no_mean():
    assert np.isnan(over_seeds([0.5])["low"]) and over_seeds([0.5])["mean"] == 0.5
    assert np.isnan(over_seeds([np.nan])["mean"]) and over_seeds([])["n"] == 0


def test_equal_values_have_no_spread():
    assert over_seeds([0.1 + 0.2, 0.3, 0.3])["sd"] == 0


def test_cells_stand_in_the_order_of_the_runs():
    found = cells(runs({5.0: [0.4, 0.6], 1.0: [0.2, 0.2]}), FACTORS, ["loss", "absent"])
    assert found[["alpha", "k", "metric", "mean", "n"]].to_numpy().tolist() == [
        [5.0, 8, "loss", 0.5, 2], [1.0, 8, "loss", 0.2, 2]
    ]  # fmt: skip


def test_differences_are_paired_by_seed():
    """Seeds differ by 1, the level by 0.1, 0.2 and 0.3 from its own seed's baseline."""
    found = differences(runs({1.0: [1, 2, 3], 5.0: [1.1, 2.2, 3.3]}), {"alpha": 1.0}, FACTORS, ["loss"]).iloc[0]
    assert found["difference"] == pytest.approx(0.2) and found["n"] == 3
    reach = T_2 * 0.1 / 3**0.5
    assert (found["low"], found["high"]) == (pytest.approx(0.2 - reach), pytest.approx(0.2 + reach))
    # t = 0.2 / (0.1 / sqrt 3) = 3.4641 with 2 degrees of freedom: p = 1 - t / sqrt(t² + 2)
    t = 2 * 3**0.5
    assert found["p"] == pytest.approx(1 - t / (t**2 + 2) ** 0.5)
    assert found["q"] == pytest.approx(found["p"])
    assert (found["baseline"], found["level"]) == (pytest.approx(2), pytest.approx(2.2))


def test_levels_away_from_the_baseline_by_more_than_five_per_cent_are_told_apart():
    table = runs({1.0: [10, 10.4], 5.0: [10.6, 10.7], 9.0: [10.8, 11.2]})  # means 10.2, 10.65 (4 %) and 11 (8 %)
    kept, apart = equal_levels(table, {"alpha": 1.0}, FACTORS, "loss")
    assert set(kept["alpha"]) == {1.0, 5.0} and len(kept) == 4
    assert apart["alpha"].tolist() == [9.0] and apart.iloc[0]["level"] == pytest.approx(11)


def test_false_discovery_counts_every_level_and_metric():
    table = runs({1.0: [1, 2, 3], 5.0: [1.1, 2.2, 3.3], 9.0: [1.3, 2.1, 2.7]})
    table["dead"] = 0.0  # no spread: no p, and still a comparison that was made
    found = differences(table, {"alpha": 1.0}, FACTORS, ["loss", "dead"])
    assert len(found) == 4 and found["p"].notna().sum() == 2
    best = found.loc[found["p"].idxmin()]
    assert best["q"] == pytest.approx(min(best["p"] * 4, found["p"].max() * 2))
    assert found[found["metric"] == "dead"]["q"].isna().all()


def test_a_seed_counts_where_it_has_every_cell():
    """The mean over two K; seed 1 has only one of them."""
    table = pd.concat([runs({1.0: [1, 2], 5.0: [2, 4]}), runs({1.0: [3, 9], 5.0: [3.5]}, k=16)], ignore_index=True)
    found = differences(table, {"alpha": 1.0}, FACTORS, ["loss"]).iloc[0]
    assert found["n"] == 1 and found["difference"] == pytest.approx((1 + 0.5) / 2) and np.isnan(found["low"])


def test_two_factors_are_ablated_together():
    lines = [{"r": r, "s": s, "seed": i, "loss": v + i} for i in (0, 1)
             for (r, s), v in {("c", "c"): 1, ("m", "c"): 2, ("m", "m"): 4}.items()]  # fmt: skip
    found = differences(pd.DataFrame(lines), {"r": "c", "s": "c"}, ["r", "s", "seed"], ["loss"])
    assert found[["r", "s", "difference"]].to_numpy().tolist() == [["m", "c", 1.0], ["m", "m", 3.0]]


def test_a_missing_baseline_or_factor():
    assert differences(runs({5.0: [1]}), {"alpha": 1.0}, FACTORS, ["loss"])["n"].tolist() == [0]
    with pytest.raises(UserError, match="no factor 'rounding'"):
        differences(runs({5.0: [1]}), {"rounding": "soft"}, FACTORS, ["loss"])


def test_interpolation_is_monotone_in_the_log_and_does_not_leave_its_points():
    x, y = np.array([8.0, 16, 32, 64]), np.array([0.8, 0.4, 0.39, 0.1])
    assert [interpolated(x, y, a) for a in x] == pytest.approx(y.tolist())
    fine = [interpolated(x, y, a) for a in np.geomspace(8, 64, 200)]
    assert (np.diff(fine) <= 1e-12).all()
    assert np.isnan(interpolated(x, y, 7.9)) and np.isnan(interpolated(x, y, 65))
    # Two points: a line in the logarithm of x, halfway at the geometric mean.
    assert interpolated(np.array([4.0, 16.0]), np.array([1.0, 0.0]), 8.0) == pytest.approx(0.5)
    assert np.isnan(interpolated(np.array([4.0, 4.0]), np.array([1.0, 0.0]), 4.0))


def test_levels_are_compared_at_the_baselines_count():
    """The baseline has exactly K bits; the level twice as many, so its loss at K 16 is read between its own points."""
    lines = []
    for seed, shift in ((0, 0.0), (1, 0.02)):
        for k, hard, soft in ((8, 0.5, 0.6), (16, 0.4, 0.4), (32, 0.3, 0.2)):
            shared = {"k": k, "seed": seed}
            lines += [{"rounding": "topk", "count": k, "loss": hard, **shared},
                      {"rounding": "soft", "count": 2 * k, "loss": soft + shift, **shared}]  # fmt: skip
    found = matched_differences(
        pd.DataFrame(lines), {"rounding": "topk"}, ["rounding", "k", "seed"], ["loss", "count"], "count"
    ).set_index("k")
    assert found["metric"].tolist() == ["loss"] * 3
    assert found.loc[8, "n"] == 0 and np.isnan(found.loc[8, "difference"])  # the level starts at 16 bits
    assert (found.loc[8, "least"], found.loc[8, "most"], found.loc[8, "points"]) == (16, 64, 3)
    assert found.loc[16, "difference"] == pytest.approx((0.6 + 0.62) / 2 - 0.4)
    assert found.loc[32, "level"] == pytest.approx(0.41) and found.loc[32, "at"] == 32
    # Differences 0.1 and 0.12: t(0.975) with 1 degree of freedom is 12.706.
    assert found.loc[32, "high"] - found.loc[32, "difference"] == pytest.approx(12.706 * 0.01, rel=1e-3)


def test_bands_are_mean_least_and_most():
    curves = [pd.DataFrame({"step": [1, 2], "loss": [1.0, 3.0]}), pd.DataFrame({"step": [1], "loss": [2.0]})]
    band = over_training(curves, "loss")
    assert band.to_numpy().tolist() == [[1, 1.5, 1, 2, 2], [2, 3, 3, 3, 1]]
    assert over_training(curves, "absent").empty
    ranks = by_rank([np.array([0.1, 0.5]), np.array([0.3, 0.2])])
    assert ranks.to_numpy() == pytest.approx(np.array([[1, 0.4, 0.3, 0.5, 2], [2, 0.15, 0.1, 0.2, 2]]))
    shares = count_shares([np.array([4, 4, 5, 9])], np.array([4, 6, 10]))
    assert shares[["low", "high", "mean"]].to_numpy().tolist() == [[4, 5, 0.75], [6, 10, 0.25]]
