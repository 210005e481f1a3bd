"""What a grid's numbers come from: share of variance, the report's death formula, the scree of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.grid import label
from sae.figures.style import (
    HEIGHT,
    ThemeName,
    category_color,
    empty_note,
    metric_title,
    new_figure,
    number_text,
    theme_of,
)

if TYPE_CHECKING:
    import pandas as pd

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon")


def variance_share(
    table: pd.DataFrame,
    *,
    response: str = "ev_total",
    n_runs: int | None = None,
    theme: ThemeName = "light",
    height: int = 260,
) -> go.Figure:
    """How much of a metric's variation over the grid each factor accounts for.

    Args:
        table: component, share; where known low and high (over seeds), drawn as a whisker.
    """
    t = theme_of(theme)
    runs = "" if n_runs is None else f"{n_runs:,} runs; "
    figure = new_figure(
        f"What {metric_title(response)[:1].lower()}{metric_title(response)[1:]} depends on",
        f"{runs}share of the sum of squares over the grid", x_title="Share of variance", theme=theme, height=height,
    )  # fmt: skip
    good = table[np.isfinite(table["share"].to_numpy(float))]
    if not len(good):
        return empty_note(figure, "Nothing varies over these runs", theme)
    short = {"k": "K", "d_sae": "dictionary size", "interaction": "both together", "seeds": "seeds"}
    share = good["share"].to_numpy(float)
    whiskers = {"low", "high"} <= set(good.columns)
    figure.add_trace(
        go.Bar(
            y=[short.get(name, name.replace("_", " ")) for name in good["component"]], x=share, orientation="h",
            marker={"color": [t.rule if n in ("interaction", "seeds") else t.bar for n in good["component"]],
                    "line": {"width": 0}},
            error_x={"type": "data", "symmetric": False, "array": (good["high"] - good["share"]).to_numpy(),
                     "arrayminus": (good["share"] - good["low"]).to_numpy(), "color": t.ink, "thickness": 1.2}
            if whiskers else None,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>", name="share",
        )
    )  # fmt: skip
    ends = good["high"].to_numpy(float) if whiskers else share
    for i, (value, end) in enumerate(zip(share, ends, strict=True)):
        figure.add_annotation(x=max(value, end if np.isfinite(end) else 0.0), y=i, text=number_text(value, "share"),
                              showarrow=False, xanchor="left", xshift=8, font={"size": 13, "color": t.ink})  # fmt: skip
    figure.update_xaxes(tickformat=".0%", range=[0, 1.12], tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticks="")
    return figure


def death_formula(
    table: pd.DataFrame,
    *,
    threshold: float,
    n_rows: int,
    error: float | None = None,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """Predicted against measured death: the formula with its best single threshold, and uniform selection.

    Args:
        table: k, d_sae, dead, predicted, uniform (shares), one line a cell.
        threshold: the fitted one. error: root mean square error of the formula, in shares.
    """
    t = theme_of(theme)
    said = f"best threshold {threshold:,.0f} uses" if np.isfinite(threshold) else "no threshold"
    if error is not None and np.isfinite(error):
        said += f", root mean square error {number_text(error, 'share').replace(' %', ' pp')}"
    good = table[np.isfinite(table[["dead", "predicted"]].to_numpy(float)).all(axis=1)]
    figure = new_figure(
        "The death formula against measured death", f"{len(good):,} configurations, {n_rows:,} rows; {said}",
        x_title="Measured share of dead features", y_title="Predicted share", theme=theme, height=height,
    )  # fmt: skip
    if not len(good):
        return empty_note(figure, "No measured death to compare with", theme)
    figure.add_trace(
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", line={"color": t.rule, "width": 1.5}, name="exact", hoverinfo="skip"
        )
    )
    for number, k in enumerate(sorted(set(good["k"]))):
        part = good[good["k"] == k]
        color, symbol = category_color(number, theme), _SYMBOLS[number % len(_SYMBOLS)]
        for column, fill, words in (("predicted", True, "formula"), ("uniform", False, "uniform selection")):
            figure.add_trace(
                go.Scatter(
                    x=part["dead"].to_numpy(float), y=part[column].to_numpy(float), mode="markers",
                    name=f"K = {label(k)}", legendgroup=f"k{number}", showlegend=fill, cliponaxis=False,
                    marker={"color": color if fill else t.paper, "size": 10, "symbol": symbol,
                            "line": {"color": color, "width": 2 if not fill else 0}},
                    customdata=[f"{label(d)} features, {words}" for d in part["d_sae"]],
                    hovertemplate=f"K = {label(k)}, %{{customdata}}<br>"
                    "measured %{x:.1%}, predicted %{y:.1%}<extra></extra>",
                )
            )  # fmt: skip
    figure.add_trace(
        go.Scatter(x=[None], y=[None], mode="markers", name="uniform selection<br>(hollow)", hoverinfo="skip",
                   marker={"color": t.paper, "size": 10, "line": {"color": t.muted, "width": 2}})
    )  # fmt: skip
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(range=[-0.03, 1.03], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_layout(legend={"x": 1.02, "y": 1, "xanchor": "left"})
    return figure


def scree(
    shares: np.ndarray,
    *,
    n_rows: int,
    marks: tuple[float, ...] = (0.5, 0.9, 0.99),
    title: str = "Principal components",
    theme: ThemeName = "light",
    height: int = 320,
) -> go.Figure:
    """The variance that the first principal components hold together.

    Args:
        shares: each component's share of variance, falling. marks: shares at which the number needed is
            marked.
    """
    t = theme_of(theme)
    shares = np.asarray(shares, float)
    figure = new_figure(title, f"{n_rows:,} rows, {len(shares):,} components", x_title="Components (log)",
                        y_title="Variance held together", theme=theme, height=height)  # fmt: skip
    if not len(shares) or not np.isfinite(shares).all():
        return empty_note(figure, "These activations have no variance", theme)
    together = np.cumsum(shares)
    count = np.arange(1, len(shares) + 1)
    figure.add_trace(
        go.Scatter(x=count, y=together, mode="lines", line={"color": t.accent, "width": 2}, name="together",
                   hovertemplate="%{x:,} components: %{y:.1%}<extra></extra>")
    )  # fmt: skip
    for mark in marks:
        if together[-1] < mark - 1e-9:
            continue
        need = int(np.searchsorted(together, mark - 1e-9)) + 1
        right = need > len(shares) ** 0.75
        figure.add_trace(
            go.Scatter(
                x=[need], y=[together[need - 1]], mode="markers+text", marker={"color": t.accent, "size": 8},
                text=[f"{need:,} hold {mark:.0%}".replace("%", " %")], textfont={"color": t.ink, "size": 12},
                textposition="bottom right" if not right else "top left", hoverinfo="skip", name=f"{mark:.0%}",
                cliponaxis=False,
            )
        )  # fmt: skip
    figure.update_xaxes(type="log", dtick=1, tickformat=",", range=[-0.03, np.log10(max(len(shares), 2)) + 0.02])
    figure.update_yaxes(tickformat=".0%", range=[0, 1.14], tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_layout(showlegend=False)
    return figure
