"""The map of layers and steps: what is drawn where, and what is kept out of the colours."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.figures.thoughts import layer_step_map

STEPS = {0: "BOT", 1: "z1<br>1", 2: "z2<br>2"}


def runs() -> pd.DataFrame:
    values = {(0, 0): [0.999], (0, 1): [0.5, 0.7], (0, 2): [0.4], (1, 0): [0.3], (1, 1): [0.9]}
    return pd.DataFrame(
        [{"layer": layer, "position": step, "ev_total": value, "run": f"r{layer}{step}{i}", "state": "done"}
         for (layer, step), found in values.items() for i, value in enumerate(found)]
    )  # fmt: skip


def drawn(**options):
    return layer_step_map(runs(), "ev_total", layers=[0, 1], steps=STEPS, **options)


def test_cells_hold_means_by_layer_upwards_and_by_step() -> None:
    figure = drawn()
    heat = figure.data[0]
    assert list(heat.x) == ["0", "1", "2"] and list(heat.y) == ["0", "1"]
    expected = [[0.999, 0.6, 0.4], [0.3, 0.9, np.nan]]
    np.testing.assert_allclose(np.array(heat.z, float), expected)
    assert list(figure.layout.yaxis.range) == [-0.5, 1.5]
    assert list(figure.layout.xaxis.ticktext) == ["BOT", "z1<br>1", "z2<br>2"]
    assert sum(shape.name == "missing" for shape in figure.layout.shapes) == 1


def test_a_near_constant_slice_is_marked_and_has_no_colour() -> None:
    figure = drawn(constant={(0, 0)})
    heat = figure.data[0]
    assert np.isnan(np.array(heat.z, float)[0, 0])
    assert (heat.zmin, heat.zmax) == (0.3, 0.9)
    (mark,) = [a for a in figure.layout.annotations if a.text.startswith("constant")]
    assert (mark.x, mark.y) == (0, 0) and "0.999" in mark.text
    assert sum(shape.name == "missing" for shape in figure.layout.shapes) == 2
    said = {(data[2], data[1]): data[4] for data in figure.data[-1].customdata}
    assert said[(0, 0)].startswith("near-constant slice: 0.999")
    assert said[(0, 1)].startswith("0.600") and "2 seeds" in said[(0, 1)]


def test_home_notes_and_a_given_range() -> None:
    figure = drawn(home=(1, 1), notes={(1, 1): "of 40 examples"}, color_range=(0, 1), theme="dark")
    (outline,) = [shape for shape in figure.layout.shapes if shape.name == "selected"]
    assert (outline.x0, outline.x1, outline.y0, outline.y1) == (0.5, 1.5, 0.5, 1.5)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (0, 1)
    said = {(data[2], data[1]): data[4] for data in figure.data[-1].customdata}
    assert said[(1, 1)].endswith("of 40 examples")
    clicks = {(data[2], data[1]): data[3] for data in figure.data[-1].customdata}
    assert clicks[(0, 1)] == "r010,r011" and clicks[(1, 2)] == ""


def test_a_metric_that_no_run_has() -> None:
    figure = layer_step_map(runs(), "mse", layers=[0, 1], steps=STEPS)
    assert np.isnan(np.array(figure.data[0].z, float)).all()
