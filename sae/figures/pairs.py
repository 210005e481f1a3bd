"""Feature pairs: correlations of a block of features, and one pair row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.grid import hatching
from sae.figures.style import (
    ThemeName,
    color_at,
    colorbar,
    colorscale,
    empty_note,
    new_figure,
    text_on,
    theme_of,
)

if TYPE_CHECKING:
    import pandas as pd

_MOST_WRITTEN = 16
_MOST_HATCHED = 40


def pair_block(
    block: np.ndarray,
    features: Sequence[int],
    *,
    n_rows: int,
    title: str = "Correlation of features",
    subtitle: str = "",
    selected: tuple[int, int] | None = None,
    theme: ThemeName = "light",
    height: int = 520,
) -> go.Figure:
    """Pearson's r among features [m, m]: blue below nought, orange above; hatched where r does not exist.

    The last trace lies transparent over the cells; its customdata are [row's feature, column's feature, r].
    """
    t = theme_of(theme)
    m = len(features)
    words = "; ".join(part for part in (f"Pearson over {n_rows:,} rows, {m:,} features", subtitle) if part)
    figure = new_figure(title, words, x_title="Feature", y_title="Feature", theme=theme, height=height)
    if not m:
        return empty_note(figure, "No features chosen", theme)
    block = np.asarray(block, float)
    names = [f"{int(feature)}" for feature in features]
    off = block[~np.eye(m, dtype=bool)]
    reach = float(np.nanmax(np.abs(off))) if np.isfinite(off).any() else 1.0
    reach = min(1.0, max(0.05, reach))
    shown = block.copy()
    np.fill_diagonal(shown, np.nan)  # a feature with itself says nothing and would set the scale
    figure.add_trace(
        go.Heatmap(
            x=names, y=names, z=shown.astype(np.float32), zmin=-reach, zmax=reach, colorscale=colorscale(t.signed),
            colorbar=colorbar("Pearson r", theme), xgap=1 if m <= 60 else 0, ygap=1 if m <= 60 else 0,
            hoverinfo="skip", hoverongaps=False, name="r",
        )
    )  # fmt: skip
    shapes, annotations = [], []
    for j in range(m):
        for i in range(m):
            if i == j:
                edges = {"x0": i - 0.5, "x1": i + 0.5, "y0": j - 0.5, "y1": j + 0.5}
                look = {"fillcolor": t.panel, "line": {"width": 0}, "layer": "below", "name": "diagonal"}
                shapes.append(go.layout.Shape(type="rect", **edges, **look))
            elif np.isnan(block[j, i]) and m <= _MOST_HATCHED:
                shapes.append(hatching(i, j, t.rule, lines=4))
            elif np.isfinite(block[j, i]) and m <= _MOST_WRITTEN:
                ink = text_on(color_at((block[j, i] / reach + 1) / 2, t.signed))
                said = f"{block[j, i]:.2f}".replace("-0.00", "0.00")
                annotations.append(
                    {"x": i, "y": j, "text": said, "showarrow": False, "font": {"size": 11, "color": ink}}
                )
    for feature in selected or ():
        if feature in list(features):
            place = list(features).index(feature)
            for edges in ({"x0": -0.5, "x1": m - 0.5, "y0": place - 0.5, "y1": place + 0.5},
                          {"y0": -0.5, "y1": m - 0.5, "x0": place - 0.5, "x1": place + 0.5}):  # fmt: skip
                shapes.append(
                    go.layout.Shape(type="rect", name="selected", line={"color": t.ink, "width": 1.5}, **edges)
                )
    across, down = np.tile(np.arange(m), m), np.repeat(np.arange(m), m)
    numbers = [int(feature) for feature in features]
    custom = [
        [numbers[j], numbers[i], "no value" if np.isnan(block[j, i]) else f"{block[j, i]:.3f}"]
        for j, i in zip(down, across, strict=True)
    ]
    figure.add_trace(
        go.Scattergl(
            x=[names[i] for i in across], y=[names[j] for j in down], mode="markers", customdata=custom, name="pairs",
            marker={"symbol": "square", "size": max(4, min(560, height - 140) / m - 1), "color": t.ink,
                    "opacity": 0.001},
            selected={"marker": {"opacity": 0.001}}, unselected={"marker": {"opacity": 0.001}}, showlegend=False,
            hovertemplate="features %{customdata[0]} and %{customdata[1]}<br>r = %{customdata[2]}<extra></extra>",
        )
    )  # fmt: skip
    order = {"type": "category", "categoryorder": "array", "categoryarray": names, "showgrid": False,
             "showline": False, "ticks": ""}  # fmt: skip
    if m > 30:
        order["nticks"] = 30
    figure.update_xaxes(range=[-0.5, m - 0.5], tickangle=-90 if m > 12 else 0, **order)
    figure.update_yaxes(range=[m - 0.5, -0.5], **order)
    figure.update_layout(shapes=shapes, annotations=annotations, hoverdistance=-1)
    return figure


def pair_scatter(
    rows: pd.DataFrame,
    a: int,
    b: int,
    *,
    n_rows: int,
    pearson: float | None = None,
    theme: ThemeName = "light",
    height: int = 420,
) -> go.Figure:
    """The activations of two features on every row where either is active; the other rows are counted in
    the subtitle.

    Args:
        rows: row, value_a, value_b, which ("both", "only a", "only b").

    Each point's customdata is its row.
    """
    t = theme_of(theme)
    neither = n_rows - len(rows)
    r = "" if pearson is None or not np.isfinite(pearson) else f"Pearson r = {pearson:.3f}; "
    figure = new_figure(
        f"Features {a:,} and {b:,}", f"{r}{n_rows:,} rows, neither active on {neither:,}",
        x_title=f"Activation of feature {a:,}", y_title=f"Activation of feature {b:,}", theme=theme, height=height,
    )  # fmt: skip
    if not len(rows):
        return empty_note(figure, "Neither feature is active on any row", theme)
    looks = (("both", t.categories[0], "circle", "both"), ("only a", t.categories[1], "line-ns-open", f"only {a:,}"),
             ("only b", t.categories[2], "line-ew-open", f"only {b:,}"))  # fmt: skip
    for which, color, symbol, name in looks:
        part = rows[rows["which"] == which]
        figure.add_trace(
            go.Scattergl(
                x=part["value_a"].to_numpy(np.float32), y=part["value_b"].to_numpy(np.float32), mode="markers",
                customdata=part["row"].to_numpy(), name=f"{name} ({len(part):,})",
                marker={"color": color, "size": 6 if symbol == "circle" else 9, "symbol": symbol, "opacity": 0.75},
                hovertemplate="row %{customdata}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
            )
        )  # fmt: skip
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(zeroline=True, zerolinecolor=t.rule, tickformat=",~g")
    figure.update_layout(legend={"x": 1.02, "y": 1, "xanchor": "left", "title": {"text": "Rows active"}})
    return figure
