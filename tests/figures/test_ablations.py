"""Figures and LaTeX of ablations: what is drawn is what the tables say."""

import numpy as np
import pandas as pd

from sae.figures.ablations import difference_forest, seed_bands, trade_off
from sae.figures.latex import latex_table


def test_a_forest_shows_intervals_and_what_is_beyond_chance():
    table = pd.DataFrame(
        {"name": ["a", "b", "c"], "difference": [0.1, -0.2, np.nan], "low": [0.05, np.nan, np.nan],
         "high": [0.2, np.nan, np.nan], "n": [2, 1, 0], "beyond": [True, False, False]}
    )  # fmt: skip
    figure = difference_forest(table, "reconstruction_loss", baseline="d", theme="dark")
    (points,) = figure.data
    assert list(points.y) == ["a", "b"]  # what can't be compared is not at nought
    assert np.allclose(points.error_x.array, [0.1, 0]) and np.allclose(points.error_x.arrayminus, [0.05, 0])
    assert points.marker.color[0] != points.marker.color[1]
    assert "2 seeds" in points.customdata[0] and "to" not in points.customdata[1]
    assert difference_forest(table[2:], "dead", baseline="d").layout.annotations


def test_bands_have_edges_where_there_are_seeds():
    two = pd.DataFrame({"step": [1, 2], "mean": [1.0, 2], "least": [0.5, 1], "most": [1.5, 3], "n": [2, 2]})
    one = two.assign(n=1)
    figure = seed_bands({"x": two, "y": one}, x="step", x_title="Step", y_title="Loss")
    assert [trace.name for trace in figure.data] == ["x, least", "x, most", "x", "y"]
    assert seed_bands({}, x="step", x_title="", y_title="").layout.annotations


def test_a_band_on_a_logarithmic_axis_ends_where_the_axis_does():
    """Three ranks of two seeds: 0.5 and 0.25; 0.125 and dead; dead in both."""
    band = pd.DataFrame({"rank": [1, 2, 3], "mean": [0.375, 0.0625, 0.0], "least": [0.25, 0.0, 0.0],
                         "most": [0.5, 0.125, 0.0], "n": 2})  # fmt: skip
    figure = seed_bands({"x": band}, x="rank", x_title="Rank", y_title="Share", log_x=True, log_y=True)
    low, high, line = figure.data
    assert list(low.x) == list(high.x) == [1, 2]
    assert list(low.y) == [0.25, 0.0625] and list(high.y) == [0.5, 0.125] and high.fill == "tonexty"
    assert list(line.y[:2]) == [0.375, 0.0625] and np.isnan(line.y[2])
    one = seed_bands({"x": band.assign(n=1)}, x="rank", x_title="Rank", y_title="Share", log_y=True)
    assert [trace.name for trace in one.data] == ["x"]


def test_a_trade_off_has_a_line_a_level_and_the_mean_predictor():
    table = pd.DataFrame(
        {"name": ["a", "b", "a"], "point": ["K 4", "K 4", "K 2"], "x": [8.0, 4, 2], "y": [0.1, 0.2, 0.3],
         "least": [0.1, 0.1, 0.3], "most": [0.1, 0.3, 0.3], "n": [1, 2, 1], "runs": ["r", "s,t", "u"]}
    )  # fmt: skip
    figure = trade_off(table, x="average_activation_count", y="reconstruction_loss", mean_predictor=0.5)
    assert [trace.name for trace in figure.data] == ["a", "b", "mean predictor"]
    assert list(figure.data[0].x) == [2, 8]
    assert figure.data[1].customdata[0][0] == "s" and figure.data[1].customdata[0][3] == "s,t"
    assert figure.data[1].error_y.array[0] == np.float64(0.3) - 0.2


def test_latex_prints_what_the_table_says():
    text = latex_table(pd.DataFrame({"a_b": ["5 %"], "loss": ["0.1 ± 0.2"]}), "N & K")
    assert r"a\_b & loss \\" in text and r"5 \% & 0.1 $\pm$ 0.2 \\" in text
    assert r"\caption{N \& K}" in text and r"\begin{tabular}{lr}" in text
    assert text.count("{") == text.count("}")
