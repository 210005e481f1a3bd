"""What a vector's bits buy: a measure against bits per vector, one line a method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from sae.figures.style import (
    HEIGHT,
    ThemeName,
    category_color,
    empty_note,
    metric_kind,
    new_figure,
    number_text,
    theme_of,
    tick_format,
)

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "reconstruction_loss": "Reconstruction loss (1 - cosine)",
    "ev_total": "Explained variance",
    "recall": "Recall of the nearest rows, by the code's own distance",
    "recall_decoded": "Recall of the nearest rows, decoded",
}
_FALLING = {"reconstruction_loss"}
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down")


def bits_curves(
    table: pd.DataFrame,
    measure: str,
    *,
    dense_bits: float | None = None,
    title: str | None = None,
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """A point for each cell, and for each method a line along those that no other of it beats in both.

    Args:
        table: `method`, `cell`, `bits`, the measure with `_low` and `_high`, `seeds`.
        measure: a column; of `reconstruction_loss` less is better, of the others more.
        dense_bits: bits of a dense vector, drawn as a dashed line.
    """
    said = TITLES.get(measure, measure)
    figure = new_figure(said if title is None else title, subtitle, x_title="Bits per vector", y_title=said,
                        theme=theme, height=height)  # fmt: skip
    shown = table[table[measure].notna()] if len(table) else table
    if not len(shown):
        return empty_note(figure, "Nothing was measured", theme)
    kind = "share" if measure.startswith("recall") else metric_kind(measure)
    for number, (method, part) in enumerate(shown.groupby("method", sort=False)):
        part = part.sort_values("bits", kind="stable")
        color = category_color(number, theme)
        best = part[best_so_far(part[measure], falling=measure in _FALLING)]
        figure.add_trace(
            go.Scatter(
                x=best["bits"], y=best[measure], mode="lines", line={"color": color, "width": 2}, legendgroup=method,
                showlegend=False, hoverinfo="skip",
            )
        )  # fmt: skip
        text = [
            f"{method}<br>{line['cell']}<br>{line['bits']:,.0f} bits: {number_text(line[measure], kind)}<br>95 % "
            f"interval {number_text(line[f'{measure}_low'], kind)} to {number_text(line[f'{measure}_high'], kind)}<br>"
            f"{line['seeds']} seed{'s' * (line['seeds'] != 1)}"
            for line in part.to_dict("records")
        ]
        figure.add_trace(
            go.Scatter(
                x=part["bits"], y=part[measure], mode="markers", name=method, legendgroup=method,
                marker={"color": color, "size": 7, "symbol": _SYMBOLS[number % len(_SYMBOLS)]},
                error_y={"type": "data", "symmetric": False, "array": part[f"{measure}_high"] - part[measure],
                         "arrayminus": part[measure] - part[f"{measure}_low"], "color": color, "thickness": 1,
                         "width": 3},
                text=text, hovertemplate="%{text}<extra></extra>",
            )
        )  # fmt: skip
    if dense_bits is not None:
        t = theme_of(theme)
        figure.add_vline(x=dense_bits, line={"color": t.rule, "dash": "dash", "width": 1.5})
    figure.update_xaxes(type="log", tickformat=",", dtick="D2")
    figure.update_yaxes(tickformat=tick_format(kind))
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"})
    return figure


def best_so_far(values: pd.Series, *, falling: bool) -> pd.Series:
    """bool: which values, in the order of rising bits, are better than all before."""
    signed = -values if falling else values
    return signed > signed.cummax().shift(fill_value=-float("inf"))
