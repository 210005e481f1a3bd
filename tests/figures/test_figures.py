"""Frontier, curves, activity, map, pairs, shares: what must stand where, and what an empty one says."""

import numpy as np
import pandas as pd
import pytest

from sae.figures import activity, curves, pairs, shares
from sae.figures.frontier import frontier
from sae.figures.map import feature_map
from sae.figures.style import THEMES
from tests.analysis.report_grid import REPORT

RUNS = REPORT.assign(
    run=[f"run{i}" for i in range(12)],
    on_frontier=[False, False, True, False, False, True, False, False, True, False, True, False],
    beaten_by=["K = 5, 1,024 features"] * 12,
    sd=0.003,
)


def subtitle(figure):
    return figure.layout.title.subtitle.text


def note(figure):
    return figure.layout.annotations[-1].text


def test_frontier_fills_the_best_and_hollows_the_dominated():
    figure = frontier(RUNS, error="sd", baselines={"Mean": pd.DataFrame({"ev_total": [0.0]})}, staircase=True)
    paper, seen = THEMES["light"].paper, {}
    for trace in figure.data:
        if trace.customdata is not None:
            for custom, color, y in zip(trace.customdata, trace.marker.color, trace.y, strict=True):
                seen[custom[0]] = (color != paper, y, custom[1])
            assert list(trace.error_y.array) == [0.003] * 4
    assert len(seen) == 12
    for line in RUNS.itertuples():
        filled, y, hover = seen[line.run]
        assert filled == line.on_frontier and y == line.ev_total
        assert ("on the frontier" in hover) == line.on_frontier
        assert ("dominated by K = 5" in hover) == (not line.on_frontier)
    names = [trace.name for trace in figure.data]
    assert "Mean, below" in names and "dominated (hollow)" in names
    stairs = next(trace for trace in figure.data if trace.name == "frontier")
    assert list(stairs.x) == [5, 10, 20, 100] and list(stairs.y) == [0.719, 0.768, 0.819, 0.880]
    assert figure.layout.xaxis.type == "log" and list(figure.layout.xaxis.ticktext) == ["5", "10", "20", "100"]
    low, high = figure.layout.yaxis.range
    assert 0 < low < 0.699 and 0.883 < high < 1


def test_frontier_stands_points_of_one_k_side_by_side():
    at_five = [trace.x[0] for trace in frontier(RUNS).data if trace.customdata is not None]
    assert at_five == sorted(at_five) and len(set(at_five)) == 3 and at_five[1] == 5
    assert max(at_five) < 10 / 1.2


def test_frontier_passes_over_missing_values():
    broken = RUNS.copy()
    broken.loc[2, "ev_total"] = np.nan
    ids = [custom[0] for trace in frontier(broken).data if trace.customdata is not None for custom in trace.customdata]
    assert len(ids) == 11 and "run2" not in ids
    assert note(frontier(RUNS.assign(ev_total=np.nan))) == "No finished runs yet"
    whole = frontier(RUNS, focus=False, baselines={"Mean": pd.DataFrame({"ev_total": [0.0]})})
    assert whole.layout.yaxis.range is None and whole.data[0].name == "Mean"


def test_curves_leave_out_steps_without_a_value():
    history = pd.DataFrame({"step": [0, 1, 2, 3], "validation_ev_total": [0.1, np.nan, 0.3, 0.4]})
    figure = curves.learning_curves({"a": history, "b": history, "c": history.iloc[:0]}, colors={"b": "#123456"})
    assert [trace.name for trace in figure.data] == ["a", "b"]
    assert list(figure.data[0].x) == [0, 2, 3] and figure.data[1].line.color == "#123456"
    assert note(curves.learning_curves({})) == "No curve yet"


def test_k_is_marked_even_where_no_row_has_it():
    table = pd.DataFrame({"active": np.arange(8), "rows": [0, 0, 5, 9, 3, 0, 0, 0]})
    figure = activity.active_per_row(table, mean=2.9, sd=0.7, quartiles=(2, 3, 3), k=20)
    assert figure.layout.shapes[0].x0 == 20 and figure.layout.xaxis.range[1] > 20
    assert "17 rows" in subtitle(figure) and "quartiles 2, 3, 3" in subtitle(figure)
    empty = activity.active_per_row(table.assign(rows=0), mean=np.nan, sd=np.nan, quartiles=(np.nan,) * 3)
    assert note(empty) == "No rows"


def test_bars_of_a_log_axis_reach_from_their_first_count_to_their_last():
    table = pd.DataFrame({"low": [1, 2, 4], "high": [1, 3, 9], "features": [7, 0, 2]})
    bar = activity.rows_per_feature(table, n_rows=50, n_features=12, n_dead=3).data[0]
    assert list(bar.y) == [7, 2]
    np.testing.assert_allclose(np.array(bar.x) - np.array(bar.width) / 2, [1, 4], atol=0.07)
    np.testing.assert_allclose(np.array(bar.x) + np.array(bar.width) / 2, [2, 10], atol=0.07)
    figure = activity.rows_per_feature(table.assign(features=0), n_rows=50, n_features=12, n_dead=12)
    assert "12 dead" in subtitle(figure) and "No feature" in note(figure)


def test_frequency_by_rank():
    figure = activity.feature_frequency(np.array([50, 10, 1]), n_rows=100, n_features=8, k=2)
    assert list(figure.data[0].y) == [0.5, 0.1, 0.01] and figure.layout.shapes[0].y0 == 0.25
    assert figure.layout.annotations[0].y == pytest.approx(np.log10(0.25))


def test_silent_rows_stand_apart_from_activations():
    table = pd.DataFrame({"low": [-1.0, 0, 1], "high": [0.0, 1, 2], "rows": [2, 5, 0]})
    figure = activity.activation_histogram(table, n_zero=93, n_rows=100, feature=7, marked=1.5)
    assert "7 of 100 rows (7.0 %)" in subtitle(figure)
    silent = figure.data[1]
    assert silent.xaxis == "x2" and list(silent.y) == [93]
    assert figure.layout.xaxis2.domain[1] < figure.layout.xaxis.domain[0]
    assert np.isnan(figure.data[0].y[2])  # an empty bin has no place on a log axis
    colors = figure.data[0].marker.color
    assert colors[0] != colors[1] == colors[2]
    linear = activity.activation_histogram(table, n_zero=93, n_rows=100, log_y=False)
    assert len(linear.data) == 1 and "silent on 93" in subtitle(linear)
    assert "Never active" in note(activity.activation_histogram(table.iloc[:0], n_zero=100, n_rows=100))


def test_bands_and_cosines():
    table = pd.DataFrame({"band": ["dead", "rare"], "features": [1500, 500], "share": [0.75, 0.25]})
    assert list(activity.density_bands(table, n_rows=9).data[0].text) == ["1,500 (75.0 %)", "500 (25.0 %)"]
    cosines = pd.DataFrame({"low": [-1.0, 0], "high": [0.0, 1], "pairs": [0, 3], "expected": [1.5, 1.5]})
    figure = activity.cosine_histogram(cosines, n_features=3, d_in=4, sampled=True)
    assert "3 pairs of a random sample of 3" in subtitle(figure) and np.isnan(figure.data[0].y[0])
    assert "Fewer than two" in note(activity.cosine_histogram(cosines.assign(pairs=0), n_features=1, d_in=4))


def points_of(figure):
    return {
        c[0]: (x, y)
        for t in figure.data
        if t.customdata is not None
        for c, x, y in zip(t.customdata, t.x, t.y, strict=True)
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("color", [None, "density", "kind", "absent"])
def test_every_feature_has_its_point_whatever_colours_it(theme, color):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"feature": np.arange(60) * 3, "x": rng.normal(size=60), "y": rng.normal(size=60)})
    table["density"] = np.where(np.arange(60) < 5, np.nan, rng.random(60))
    table["kind"] = [None if i < 4 else f"kind {i % 12}" for i in range(60)]
    figure = feature_map(table, color=color, selected=30, theme=theme)
    points = points_of(figure)
    assert len(points) == 60
    for line in table.itertuples():
        assert points[line.feature] == (pytest.approx(line.x), pytest.approx(line.y))
    ring = next(trace for trace in figure.data if trace.name == "selected")
    assert (ring.x[0], ring.y[0]) == (table["x"][10], table["y"][10]) and note(figure) == "30"
    names = [trace.name for trace in figure.data if trace.showlegend is not False]
    if color == "kind":
        assert len(names) == 8 and sum(int(name.split("(")[1][:-1]) for name in names) == 60
        assert any(name.startswith("other") for name in names)
    if color == "density":
        assert [len(trace.x) for trace in figure.data if trace.name == "no value"] == [5]
        colored = next(trace for trace in figure.data if trace.name == "density")
        hover = {custom[0]: custom[1] for custom in colored.customdata}
        assert f"{100 * table['density'][20]:.1f} %" in hover[60]
        assert (np.diff(colored.marker.color) >= 0).all()


def test_a_map_of_nothing():
    empty = pd.DataFrame({"feature": [], "x": [], "y": []})
    assert note(feature_map(empty)) == "No living features"
    assert "distances are not metric" in subtitle(feature_map(empty))
    assert "principal axes" in subtitle(feature_map(empty, method="pca"))


def test_block_of_pairs():
    block = np.array([[1, 0.5, np.nan], [0.5, 1, np.nan], [np.nan, np.nan, np.nan]])
    figure = pairs.pair_block(block, [7, 2, 9], n_rows=100, selected=(7, 2))
    heat = figure.data[0]
    assert np.isnan(np.diag(heat.z)).all() and (heat.zmin, heat.zmax) == (-0.5, 0.5)
    assert sum(shape.name == "missing" for shape in figure.layout.shapes) == 4
    assert {(n.x, n.y): n.text for n in figure.layout.annotations} == {(0, 1): "0.50", (1, 0): "0.50"}
    custom = [tuple(c) for c in figure.data[-1].customdata]
    assert custom[1] == (7, 2, "0.500") and custom[2] == (7, 9, "no value")
    assert list(heat.x) == ["7", "2", "9"]
    assert note(pairs.pair_block(np.zeros((0, 0)), [], n_rows=5)) == "No features chosen"
    assert not pairs.pair_block(np.eye(30), range(30), n_rows=5).layout.annotations


def test_rows_of_a_pair():
    rows = pd.DataFrame(
        {"row": [3, 5, 8], "value_a": [1.0, 0, 2], "value_b": [2.0, 1, 0], "which": ["both", "only b", "only a"]}
    )
    figure = pairs.pair_scatter(rows, 4, 1700, n_rows=50, pearson=0.3)
    assert [trace.name for trace in figure.data] == ["both (1)", "only 4 (1)", "only 1,700 (1)"]
    assert [list(trace.customdata) for trace in figure.data] == [[3], [8], [5]]
    assert "neither active on 47" in subtitle(figure) and "0.300" in subtitle(figure)
    assert "Neither" in note(pairs.pair_scatter(rows.iloc[:0], 1, 2, n_rows=50))


def test_shares_of_variance():
    table = pd.DataFrame({"component": ["k", "d_sae", "interaction"], "share": [0.99, 0.008, 0.002]})
    figure = shares.variance_share(table, n_runs=12)
    assert [n.text for n in figure.layout.annotations] == ["99.0 %", "0.8 %", "0.2 %"]
    assert list(figure.data[0].y) == ["K", "dictionary size", "both together"]
    ranged = shares.variance_share(table.assign(low=table["share"] * 0.9, high=table["share"] + 0.01))
    np.testing.assert_allclose(ranged.data[0].error_x.array, 0.01)
    np.testing.assert_allclose(ranged.data[0].error_x.arrayminus, table["share"] * 0.1)
    assert "Nothing varies" in note(shares.variance_share(table.assign(share=np.nan)))


def test_death_formula_against_measured():
    table = REPORT.assign(predicted=0.5, uniform=0.0)
    table.loc[0, "dead"] = np.nan
    figure = shares.death_formula(table, threshold=458, n_rows=7473, error=0.074)
    assert "11 configurations" in subtitle(figure) and "458 uses" in subtitle(figure) and "7.4 pp" in subtitle(figure)
    drawn = [trace for trace in figure.data if trace.customdata is not None]
    assert sum(len(trace.x) for trace in drawn) == 22
    assert {y for trace in drawn for y in trace.y} == {0.5, 0.0}
    assert "No measured" in note(shares.death_formula(table.assign(dead=np.nan), threshold=np.nan, n_rows=1))


def test_scree_marks_how_many_components_it_takes():
    figure = shares.scree(np.array([0.5, 0.3, 0.15, 0.05]), n_rows=10)
    np.testing.assert_allclose(figure.data[0].y, [0.5, 0.8, 0.95, 1.0])
    assert [trace.text[0] for trace in figure.data[1:]] == ["1 hold 50 %", "3 hold 90 %", "4 hold 99 %"]
    assert "no variance" in note(shares.scree(np.array([np.nan, np.nan]), n_rows=10))
