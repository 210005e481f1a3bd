"""Layers of a crosscoder, drawn from a table of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from sae.figures.style import ThemeName, metric_title, new_figure, theme_of

if TYPE_CHECKING:
    import pandas as pd


def ev_by_layer(table: pd.DataFrame, *, theme: ThemeName = "light", height: int = 280) -> go.Figure:
    """Explained variance of each layer, and of a dictionary of that layer alone where there is one.

    Args:
        table: `layer`, `ev` and `ev_alone` (NaN where there is none), a line a layer.
    """
    t = theme_of(theme)
    figure = new_figure(
        "Explained variance by layer", x_title="Layer", y_title=metric_title("ev_total"), theme=theme, height=height
    )
    names = [str(layer) for layer in table["layer"]]
    series = [("ev", "this crosscoder", t.bar), ("ev_alone", "the layer by itself", t.muted)]
    for column, name, color in series:
        if table[column].notna().any():
            figure.add_trace(
                go.Bar(
                    x=names, y=table[column], name=name, marker_color=color,
                    hovertemplate=f"layer %{{x}}<br>{name} %{{y:.3f}}<extra></extra>",
                )
            )  # fmt: skip
    figure.update_layout(barmode="group", bargap=0.35)
    figure.update_xaxes(type="category")
    return figure
