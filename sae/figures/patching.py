"""What patching does to answers: one measure under every condition, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import (
    ThemeName,
    empty_note,
    metric_kind,
    metric_title,
    new_figure,
    number_text,
    theme_of,
    tick_format,
)

if TYPE_CHECKING:
    import pandas as pd

#: The conditions as an axis names them; the first is the one that is measured.
NAMES = {
    "sae": "SAE",
    "pca": "PCA of as many components",
    "random": "Random error, as long",
    "mean": "Mean of train rows",
    "zero": "Zeros",
}


def conditions(
    table: pd.DataFrame,
    measure: str,
    *,
    clean: float | None = None,
    names: Mapping[str, str] = NAMES,
    title: str | None = None,
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = 260,
) -> go.Figure:
    """A point and its interval for each condition, the one that is measured in the accent colour.

    Args:
        table: a line a condition with `condition`, `n`, the measure, `MEASURE_low` and `MEASURE_high`.
        clean: the value without patching, drawn as a dashed line.
    """
    t, kind = theme_of(theme), metric_kind(measure)
    said = metric_title(measure) if title is None else title
    figure = new_figure(said, subtitle, x_title=metric_title(measure), theme=theme, height=height)
    if not len(table) or not table[measure].notna().any():
        return empty_note(figure, "Nothing was measured", theme)
    for line in table.to_dict("records"):
        name = names.get(line["condition"], line["condition"])
        value, low, high = (line[column] for column in (measure, f"{measure}_low", f"{measure}_high"))
        color = t.accent if line["condition"] == "sae" else t.muted
        figure.add_trace(
            go.Scatter(
                x=[value], y=[name], mode="markers", name=name, marker={"color": color, "size": 9},
                error_x={"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low],
                         "color": color, "thickness": 1.5, "width": 5},
                hovertemplate=f"{name}: {number_text(value, kind)}<br>95 % interval {number_text(low, kind)} to "
                f"{number_text(high, kind)}<br>n = {line['n']:,} problems<extra></extra>",
            )
        )  # fmt: skip
    if clean is not None:
        figure.add_vline(x=clean, line={"color": t.rule, "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=clean, y=1, yref="paper", yanchor="bottom", text=f"not patched {number_text(clean, kind)}",
            showarrow=False, font={"size": 12, "color": t.muted},
        )  # fmt: skip
    values = table[[measure, f"{measure}_low", f"{measure}_high"]].to_numpy(float)
    most, least = max(float(np.nanmax(values)), clean or 0.0) or 1.0, min(float(np.nanmin(values)), 0.0)
    room = 0.03 * (most - least)  # so that a point at nought is whole
    figure.update_xaxes(tickformat=tick_format(kind), range=[least - room, most + 2 * room], zeroline=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_layout(showlegend=False)
    return figure
