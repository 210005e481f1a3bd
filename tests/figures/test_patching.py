"""The figure of patching: its points, intervals and words."""

from __future__ import annotations

import pandas as pd
import pytest

from sae.figures.patching import NAMES, conditions
from sae.figures.style import THEMES


def table() -> pd.DataFrame:
    lines = []
    for at, name in enumerate(NAMES):
        lines.append({"condition": name, "n": 500, "accuracy": 0.8 - at / 10, "accuracy_low": 0.7 - at / 10,
                      "accuracy_high": 0.85 - at / 10})  # fmt: skip
    return pd.DataFrame(lines)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_points_and_intervals(theme) -> None:
    figure = conditions(table(), "accuracy", clean=0.9, theme=theme)
    assert [trace.y[0] for trace in figure.data] == list(NAMES.values())
    assert [trace.x[0] for trace in figure.data] == table()["accuracy"].tolist()
    first = figure.data[0]
    assert first.error_x.array[0] == pytest.approx(0.05) and first.error_x.arrayminus[0] == pytest.approx(0.1)
    assert first.marker.color == THEMES[theme].accent != figure.data[1].marker.color
    assert "80.0 %" in first.hovertemplate and "n = 500" in first.hovertemplate
    assert figure.layout.shapes[0].x0 == 0.9
    assert figure.layout.annotations[0].text == "not patched 90.0 %"
    low, high = figure.layout.xaxis.range  # a point at nought is whole
    assert -0.1 < low < 0 and 0.9 < high < 1


def test_nothing_measured_says_so() -> None:
    assert conditions(table().head(0), "accuracy").layout.annotations[0].text == "Nothing was measured"
