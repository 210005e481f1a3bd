"""Variance share, death formula, differences of grids."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LinearRegression

from sae.analysis.death_formula import death_formula
from sae.analysis.differences import difference
from sae.analysis.variance_share import variance_share, variance_share_range
from sae.common.errors import UserError
from tests.analysis.report_grid import REPORT


def test_variance_of_the_report_s_grid_by_hand():
    grid = REPORT.pivot(index="k", columns="d_sae", values="ev_total").to_numpy()
    grand = grid.mean()
    rows, columns = grid.mean(1) - grand, grid.mean(0) - grand
    parts = [3 * (rows**2).sum(), 4 * (columns**2).sum()]
    parts.append(((grid - grand) ** 2).sum() - sum(parts))
    shares = variance_share(REPORT)
    assert shares["component"].tolist() == ["k", "d_sae", "interaction"]
    np.testing.assert_allclose(shares["sum_of_squares"], parts, atol=1e-12)
    assert shares["share"].sum() == pytest.approx(1)
    assert shares["share"][0] > 0.99
    assert shares["degrees_of_freedom"].tolist() == [3, 2, 6]


def test_with_seeds_and_a_missing_cell_the_parts_still_add_up():
    rng = np.random.default_rng(0)
    table = pd.concat([REPORT.assign(seed=seed) for seed in range(3)], ignore_index=True)
    table["ev_total"] += rng.normal(0, 0.01, len(table))
    table = table.drop(index=[0, 12, 24, 30])
    table.loc[5, "ev_total"] = np.nan
    shares = variance_share(table).set_index("component")
    assert shares["share"].sum() == pytest.approx(1)
    kept = table.dropna()
    within = kept["ev_total"] - kept.groupby(["k", "d_sae"])["ev_total"].transform("mean")
    assert shares.loc["seeds", "sum_of_squares"] == pytest.approx((within**2).sum())
    design = pd.get_dummies(kept[["k", "d_sae"]].astype(str)).to_numpy(float)
    additive = LinearRegression().fit(design, kept["ev_total"]).predict(design)
    both = ((additive - kept["ev_total"].mean()) ** 2).sum()
    assert shares.loc[["k", "d_sae"], "sum_of_squares"].sum() == pytest.approx(both)
    over_seeds = variance_share_range(table).set_index("component")
    assert over_seeds.loc["k", "n"] == 3
    assert over_seeds.loc["k", "low"] <= over_seeds.loc["k", "mean"] <= over_seeds.loc["k", "high"]


def test_variance_that_is_not_there():
    assert variance_share(REPORT.assign(ev_total=0.5))["share"].isna().all()
    for broken in (REPORT.iloc[:1], REPORT.assign(ev_total=np.nan)):
        with pytest.raises(UserError, match="2 measured"):
            variance_share(broken)
    with pytest.raises(UserError, match="no column 'x'"):
        variance_share(REPORT, "x")


def test_death_formula_on_the_report_s_table():
    result = death_formula(REPORT, 7473)
    table = result.table.set_index(["k", "d_sae"])
    assert table["threshold"].min() == pytest.approx(275, abs=1)
    assert table["threshold"].max() == pytest.approx(742, abs=1)
    assert np.isnan(table.loc[(100, 512), "threshold"])  # nobody died: any small enough threshold fits
    assert table.loc[(5, 2048), "uniform"] == pytest.approx(np.exp(-7473 * 5 / 2048))
    uses = REPORT["k"] * 7473 / REPORT["d_sae"]

    def error(threshold):
        return np.sqrt(np.mean((np.maximum(0, 1 - uses / threshold) - REPORT["dead"]) ** 2))

    best = min(
        (minimize_scalar(error, bounds=(a, a * 1.2), method="bounded") for a in 50 * 1.15 ** np.arange(25)),
        key=lambda found: found.fun,
    )
    assert result.threshold == pytest.approx(best.x, rel=1e-3)
    assert result.root_mean_square_error == pytest.approx(best.fun, rel=1e-5)
    np.testing.assert_allclose(table["error"], table["predicted"] - table["dead"])


def test_death_formula_finds_a_threshold_that_is_there():
    table = REPORT.assign(dead=np.maximum(0, 1 - REPORT["k"] * 1000 / REPORT["d_sae"] / 40))
    result = death_formula(table, 1000)
    assert result.threshold == pytest.approx(40) and result.root_mean_square_error == pytest.approx(0, abs=1e-9)


def test_death_formula_without_death_and_without_cells():
    assert (death_formula(REPORT.assign(dead=0.0), 7473).table["predicted"] == 0).all()
    empty = death_formula(REPORT.assign(dead=np.nan), 7473)
    assert np.isnan(empty.threshold) and empty.table["predicted"].isna().all()
    with pytest.raises(UserError, match="0.855"):
        death_formula(REPORT.assign(dead=85.5), 7473)


def test_difference_averages_seeds_and_keeps_cells_of_one_side():
    left = pd.DataFrame({"k": [5, 5, 10], "d_sae": [512] * 3, "ev_total": [0.70, 0.72, 0.80]})
    right = pd.DataFrame({"k": [5, 5, 20], "d_sae": [512] * 3, "ev_total": [0.74, 0.78, np.nan]})
    cells = difference(left, right, "ev_total")
    assert cells["k"].tolist() == [5, 10, 20]
    assert cells["difference"][0] == pytest.approx(0.05)
    assert cells["difference"].isna().tolist() == [False, True, True]
    expected = np.sqrt(np.var([0.70, 0.72], ddof=1) / 2 + np.var([0.74, 0.78], ddof=1) / 2)
    assert cells["standard_error"][0] == pytest.approx(expected)
    assert cells["left_n"].tolist() == [2, 1, 0] and cells["right_n"].tolist() == [2, 0, 0]
    with pytest.raises(UserError, match="second experiment has no column"):
        difference(left, right.drop(columns="k"), "ev_total")
