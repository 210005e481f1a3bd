"""Error prediction's figures: what must stand where, and what an empty one says."""

import numpy as np
import pandas as pd
import pytest

from sae.figures.error_prediction import by_step, calibration_curve, forest, volcano

PROBES = pd.DataFrame(
    {
        "title": ["Raw", "SAE", "Question"],
        "baseline": [True, False, True],
        "auroc": [0.7, 0.8, 0.55],
        "auroc_low": [0.6, 0.7, 0.5],
        "auroc_high": [0.75, 0.9, 0.6],
    }
)
FEATURES = pd.DataFrame(
    {
        "feature": [3, 5, 7, 9],
        "n_active": [40, 50, 60, 3],
        "share_wrong": [0.5, 0.2, 0.2, 0.1],
        "share_right": [0.1, 0.19, 0.5, 0.0],
        "difference": [0.4, 0.01, -0.3, 0.1],
        "auroc": [0.7, 0.5, 0.35, 0.6],
        "q_hypergeometric": [1e-6, 0.9, 0.2, np.nan],
        "q_mann_whitney": [1e-5, 0.8, 0.001, np.nan],
        "p_largest": [0.001, 1.0, 0.03, np.nan],
        "p_largest_auroc": [0.001, 1.0, 0.01, np.nan],
    }
)


def note(figure):
    return figure.layout.annotations[-1].text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_forest_puts_features_above_baselines(theme):
    figure = forest(PROBES, null=(0.42, 0.58), theme=theme)
    features, baselines = figure.data
    assert list(features.y) == ["SAE"] and list(baselines.y) == ["Raw", "Question"]
    np.testing.assert_allclose(features.error_x.array, [0.1])
    np.testing.assert_allclose(baselines.error_x.arrayminus, [0.1, 0.05])
    assert features.marker.color != baselines.marker.color == figure.layout.paper_bgcolor
    assert list(figure.layout.yaxis.categoryarray) == ["SAE", "Raw", "Question"]
    shapes = {shape.name: shape for shape in figure.layout.shapes}
    assert (shapes["null"].x0, shapes["null"].x1) == (0.42, 0.58) and shapes["chance"].x0 == 0.5
    assert "full protocol" in note(forest(PROBES.iloc[:0]))


def test_volcano_fills_what_lies_beyond_band_and_level():
    figure = volcano(FEATURES, band=0.15, selected=7)
    inside, beyond, ring = figure.data
    assert [custom[0] for custom in beyond.customdata] == [3]  # 7 is beyond the band, but its q is 0.2
    assert [custom[0] for custom in inside.customdata] == [5, 7]
    np.testing.assert_allclose(beyond.y, [6])
    assert "50.0 % of wrong, 10.0 % of right" in beyond.customdata[0][1]
    assert ring.name == "selected" and ring.x[0] == -0.3
    shapes = {shape.name: shape for shape in figure.layout.shapes}
    assert (shapes["band"].x0, shapes["band"].x1) == (-0.15, 0.15)
    assert shapes["q"].y0 == pytest.approx(-np.log10(0.05))
    other = volcano(FEATURES, "auroc", band=0.1)
    assert [custom[0] for custom in other.data[1].customdata] == [3, 7]
    assert other.layout.shapes[0].x0 == pytest.approx(0.4)
    assert "No feature" in note(volcano(FEATURES.iloc[3:], band=0.0))
    with pytest.raises(ValueError, match="not known"):
        volcano(FEATURES, "d", band=0.1)


def test_calibration_and_steps():
    bins = pd.DataFrame({"probe": ["a", "a", "b"], "chance": [0.1, 0.5, 0.3], "wrong": [0.2, 0.4, 0.3], "n": [5, 9, 7]})
    figure = calibration_curve(bins, {"a": "First"})
    assert len(figure.data) == 1 and list(figure.data[0].y) == [0.2, 0.4]
    assert "full protocol" in note(calibration_curve(bins.iloc[:0], {"a": "First"}))
    steps = pd.DataFrame(
        {"step": ["BOT", "z1"], "auroc": [0.5, 0.7], "low": [0.4, 0.6], "high": [0.6, 0.8], "question": [0.55, 0.55]}
    )
    figure = by_step(steps, ["BOT", "z1"], level=0.975, detected="z1")
    colors = figure.data[0].marker.color
    assert colors[0] == figure.layout.paper_bgcolor != colors[1]
    assert "97.5 % interval 0.600 to 0.800" in figure.data[0].customdata[1]
    assert list(figure.data[1].y) == [0.55, 0.55]
    assert "No step" in note(by_step(steps.iloc[:0], [], level=0.95))
