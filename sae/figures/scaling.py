"""What is left unexplained against K, a line a dictionary size, with the law that was fitted without the largest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import ThemeName, category_color, new_figure, theme_of

if TYPE_CHECKING:
    import pandas as pd


def scaling_law(
    table: pd.DataFrame,
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    theme: ThemeName = "light",
    height: int = 380,
) -> go.Figure:
    """Points: runs, hollow on the size left out; lines: the law, dashed there.

    Args:
        table, predict: of `sae.analysis.scaling.Law`.
    """
    figure = new_figure(
        "Unexplained variance by K and size", x_title="K (active features a row)", y_title="1 - EV_total", theme=theme,
        height=height,
    )  # fmt: skip
    ks = np.unique(table["k"].to_numpy(float))
    span = np.exp(np.linspace(np.log(ks.min()), np.log(ks.max()), 40))
    for number, (size, part) in enumerate(table.groupby("d_sae")):
        color, out = category_color(number, theme), bool(part["held_out"].iloc[0])
        named = f"{size:,}{' (held out)' if out else ''}"
        figure.add_trace(
            go.Scatter(
                x=span, y=predict(span, np.full_like(span, size)), mode="lines", name=named, legendgroup=named,
                showlegend=False, hoverinfo="skip",
                line={"color": color, "width": 1.5, "dash": "dash" if out else None},
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=part["k"], y=part["fvu"], mode="markers", name=named, legendgroup=named,
                marker={
                    "color": theme_of(theme).paper if out else color, "size": 8, "line": {"color": color, "width": 2},
                },
                customdata=part[["predicted", "low", "high"]],
                hovertemplate="d_sae " + named + ", K %{x}<br>%{y:.4f}, the law says %{customdata[0]:.4f} "
                "(%{customdata[1]:.4f} to %{customdata[2]:.4f})<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(type="log", tickvals=ks, ticktext=[f"{k:g}" for k in ks])
    figure.update_yaxes(type="log", dtick="D2")
    figure.update_layout(legend={"title": {"text": "d_sae"}})
    return figure


def split_gap(table: pd.DataFrame, *, theme: ThemeName = "light", height: int = 380) -> go.Figure:
    """EV_total on train rows less that on held-out rows (`gap`) against `d_sae`, a line a `k`."""
    figure = new_figure(
        "Train less held-out", x_title="d_sae", y_title="EV_total, train less validation", theme=theme, height=height
    )
    sizes = np.unique(table["d_sae"].to_numpy(float))
    for number, (k, part) in enumerate(table.groupby("k")):
        means = part.groupby("d_sae")["gap"].mean()
        figure.add_trace(
            go.Scatter(
                x=means.index, y=means.to_numpy(), mode="lines+markers", name=f"K {k:,}",
                line={"color": category_color(number, theme), "width": 1.5}, marker={"size": 7},
                hovertemplate="d_sae %{x:,}, K " + f"{k:,}" + ": %{y:.4f}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(type="log", tickvals=sizes, ticktext=[f"{size:,.0f}" for size in sizes])
    return figure
