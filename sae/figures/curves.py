"""Training curves: of several runs, and in miniature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import (
    HEIGHT,
    ThemeName,
    category_color,
    empty_note,
    metric_kind,
    metric_title,
    new_figure,
    tick_format,
)

if TYPE_CHECKING:
    import pandas as pd

_DASHES = ("solid", "dash", "dot", "dashdot")


def learning_curves(
    histories: Mapping[str, pd.DataFrame],
    y: str = "validation_ev_total",
    *,
    x: str = "step",
    colors: Mapping[str, str] | None = None,
    log_y: bool = False,
    title: str | None = None,
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """One line a run.

    Args:
        histories: run's name -> its history with columns `x` and `y`; steps without a value are passed over.
        colors: run's name -> colour, for a run that has one of its own; else Okabe-Ito in order, then dashes.
    """
    title = metric_title(y) if title is None else title
    figure = new_figure(title, subtitle, x_title=metric_title(x), y_title=metric_title(y), theme=theme, height=height)
    drawn, seen = 0, np.empty(0)
    for number, (name, history) in enumerate(histories.items()):
        if x not in history or y not in history:
            continue
        points = history[[x, y]].to_numpy(float)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            continue
        drawn, seen = drawn + 1, np.append(seen, points[:, 1])
        color = (colors or {}).get(name) or category_color(number, theme)
        figure.add_trace(
            go.Scatter(
                x=points[:, 0], y=points[:, 1], name=name, mode="lines+markers" if len(points) <= 40 else "lines",
                line={"color": color, "width": 2, "dash": _DASHES[number // 8 % len(_DASHES)]},
                marker={"size": 5, "color": color},
                hovertemplate=f"{name}<br>{metric_title(x)} %{{x:,}}: %{{y:.4g}}<extra></extra>",
            )
        )  # fmt: skip
    if not drawn:
        return empty_note(figure, "No curve yet", theme)
    figure.update_yaxes(tickformat=tick_format(metric_kind(y), log_y), type="log" if log_y else "linear")
    if log_y and seen.min() > 0 and seen.max() > 5 * seen.min():
        figure.update_yaxes(dtick="D2")  # 2, 5 and 10 of each decade: all digits run into each other
    figure.update_xaxes(tickformat=",", rangemode="tozero")
    figure.update_layout(legend={"x": 1.02, "y": 1, "xanchor": "left"}, showlegend=drawn > 1)
    return figure
