"""Ablations: differences from the baseline, curves with the band of their seeds, one metric over another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    number_text,
    theme_of,
    tick_format,
)

if TYPE_CHECKING:
    import pandas as pd

LEGEND_LINE = 20  # px
_DASHES = ("solid", "dash", "dot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "x", "cross")


def difference_forest(
    table: pd.DataFrame, metric: str, *, baseline: str, theme: ThemeName = "light", height: int = HEIGHT
) -> go.Figure:
    """Each level's difference from the baseline, with its interval; filled where it is beyond the seeds' spread.

    Args:
        table: name (of the level), difference, low, high (NaN with one seed), n, beyond (bool).
        baseline: its name, at nought.
    """
    t = theme_of(theme)
    kind = metric_kind(metric)
    title = metric_title(metric)
    figure = new_figure(
        f"{title}, less that of {baseline}", x_title=f"Difference in {title[:1].lower()}{title[1:]}",
        theme=theme, height=height,
    )  # fmt: skip
    good = table[np.isfinite(table["difference"].to_numpy(float))]
    if not len(good):
        return empty_note(figure, "No seed of a level and of the baseline is finished yet", theme)
    figure.add_vline(x=0, line={"color": t.muted, "dash": "dash", "width": 1.5})
    value = good["difference"].to_numpy(float)
    high, low = (np.nan_to_num(np.abs(good[name].to_numpy(float) - value)) for name in ("high", "low"))
    said = [
        f"{number_text(d, kind, signed=True)}"
        + (f" ({number_text(a, kind, signed=True)} to {number_text(b, kind, signed=True)})" if np.isfinite(a) else "")
        + f", {n} {'seed' if n == 1 else 'seeds'}"
        for d, a, b, n in good[["difference", "low", "high", "n"]].itertuples(index=False)
    ]
    figure.add_trace(
        go.Scatter(
            x=value, y=good["name"].tolist(), mode="markers", name="levels", customdata=said,
            marker={"size": 11, "symbol": "circle", "color": [t.accent if b else t.paper for b in good["beyond"]],
                    "line": {"color": t.accent, "width": 2}},
            error_x={"type": "data", "symmetric": False, "array": high, "arrayminus": low, "color": t.accent,
                     "thickness": 1.5, "width": 5, "visible": bool((high + low).any())},
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(tickformat=tick_format(kind))
    figure.update_yaxes(type="category", autorange="reversed", ticks="", range=[len(good) - 0.4, -0.6])
    figure.update_layout(showlegend=False)
    return figure


def seed_bands(
    bands: Mapping[str, pd.DataFrame],
    *,
    x: str,
    x_title: str,
    y_title: str,
    kind: str = "number",
    log_x: bool = False,
    log_y: bool = False,
    stairs: bool = False,
    mark: tuple[float, str] | None = None,
    peaks: Collection[str] = (),
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """A line a cell: the mean of its seeds, and between the least and the most of them a band.

    Args:
        bands: name -> column `x`, mean, least, most, n.
        stairs: lines go across and then up, as a histogram's do.
        mark: where on the x axis a line stands, and its name.
        peaks: bands that may go past the top: the axis ends where the others do, if there are others.
    """
    t = theme_of(theme)
    figure = new_figure("", x_title=x_title, y_title=y_title, theme=theme, height=height)
    filled = {name: band for name, band in bands.items() if len(band)}
    if not filled:
        return empty_note(figure, "No finished run has this yet", theme)
    shape = "hv" if stairs else "linear"
    floor = _least_above_zero(filled.values()) if log_y else 0.0
    for number, (name, band) in enumerate(filled.items()):
        color = category_color(number, theme)
        across = band[x].to_numpy(float)
        mean, least, most = (band[column].to_numpy(float) for column in ("mean", "least", "most"))
        seen = most > 0 if log_y else np.ones(len(across), bool)
        if log_y:  # nought has no place on the axis: a band that reaches down to it ends where the axis does
            mean, least = np.where(mean > 0, mean, np.nan), np.maximum(least, floor)
        if (band["n"] > 1).any():
            edge = {"mode": "lines", "line": {"width": 0, "shape": shape}, "hoverinfo": "skip", "showlegend": False}
            figure.add_trace(go.Scatter(x=across[seen], y=least[seen], legendgroup=name, name=f"{name}, least", **edge))
            figure.add_trace(
                go.Scatter(x=across[seen], y=most[seen], legendgroup=name, name=f"{name}, most", fill="tonexty",
                           fillcolor=_faint(color), **edge)
            )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=across, y=mean, mode="lines", name=name, legendgroup=name,
                line={"color": color, "width": 2, "dash": _DASHES[number // 8 % len(_DASHES)], "shape": shape},
                hovertemplate=f"{name}<br>%{{x:,}}: %{{y:.4g}}<extra></extra>",
            )
        )  # fmt: skip
    if mark is not None:
        figure.add_vline(x=mark[0], line={"color": t.muted, "dash": "dash", "width": 1.5}, annotation_text=mark[1],
                         annotation_font={"color": t.muted, "size": 12}, annotation_yanchor="bottom")  # fmt: skip
    figure.update_xaxes(tickformat=",", type="log" if log_x else "linear")
    figure.update_yaxes(tickformat=tick_format(kind, log_y), type="log" if log_y else "linear")
    if peaks and (others := [band for name, band in filled.items() if name not in peaks]):
        figure.update_yaxes(range=[0, 1.15 * max(float(band["most"].max()) for band in others)])
    # Every name stands there: a picture's legend can't be scrolled, and dashes tell colours that come round again.
    legend = {"x": 1.02, "y": 1, "xanchor": "left", "tracegroupgap": 0, "itemsizing": "trace"}
    tall = max(height, LEGEND_LINE * len(filled) + 90)
    figure.update_layout(legend=legend, showlegend=True, height=tall)
    return figure


def _least_above_zero(bands: Iterable[pd.DataFrame]) -> float:
    """The smallest number above nought of all means and edges; 0 where there is none."""
    every = np.concatenate([band[["mean", "least", "most"]].to_numpy(float).ravel() for band in bands])
    return float(every[every > 0].min(initial=np.inf)) if (every > 0).any() else 0.0


def level_bars(table: pd.DataFrame, metric: str, *, theme: ThemeName = "light", height: int = HEIGHT) -> go.Figure:
    """One metric of every level: means over seeds, with Student's interval over them.

    Args:
        table: name (of the level), mean, low, high (NaN with one seed), n (seeds).
    """
    t = theme_of(theme)
    kind = metric_kind(metric)
    figure = new_figure("", x_title=metric_title(metric), theme=theme, height=height)
    good = table[np.isfinite(table["mean"].to_numpy(float))]
    if not len(good):
        return empty_note(figure, "No finished run has this yet", theme)
    mean = good["mean"].to_numpy(float)
    high, low = (np.nan_to_num(np.abs(good[name].to_numpy(float) - mean)) for name in ("high", "low"))
    said = [
        f"{number_text(value, kind)}"
        + (f" ({number_text(a, kind)} to {number_text(b, kind)})" if np.isfinite(a) else "")
        + f", {n} {'seed' if n == 1 else 'seeds'}"
        for value, a, b, n in good[["mean", "low", "high", "n"]].itertuples(index=False)
    ]
    figure.add_trace(
        go.Bar(
            x=mean, y=good["name"].tolist(), orientation="h", marker={"color": t.bar}, customdata=said,
            error_x={"type": "data", "symmetric": False, "array": high, "arrayminus": low, "color": t.ink,
                     "thickness": 1.2, "width": 3, "visible": bool((high + low).any())},
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(tickformat=tick_format(kind), rangemode="tozero")
    figure.update_yaxes(type="category", autorange="reversed", ticks="")
    figure.update_layout(showlegend=False)
    return figure


def trade_off(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    mean_predictor: float | None = None,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """One metric over another, the mean of each cell's seeds, a line a level; x is logarithmic.

    Args:
        table: name (of the level), point (what the hover says), x, y (means), least, most (of y over the seeds), n,
            and run, which a click selects: its customdata are [run, x, y, runs of the cell (commas), the hover].
        mean_predictor: y of predicting the mean.
    """
    t = theme_of(theme)
    figure = new_figure("", x_title=f"{metric_title(x)} (log)", y_title=metric_title(y), theme=theme, height=height)
    kind = metric_kind(y)
    good = table[np.isfinite(table[["x", "y"]].to_numpy(float)).all(axis=1) & (table["x"] > 0)]
    if not len(good):
        return empty_note(figure, "No finished run yet", theme)
    alone = good["name"].nunique() == 1
    for number, (name, part) in enumerate(good.groupby("name", sort=False)):
        part = part.sort_values("x")
        color = category_color(number, theme)
        value = part["y"].to_numpy(float)
        said = [
            f"{point}<br>{number_text(a, metric_kind(x))} bits, {number_text(b, kind)}; "
            f"{n} {'seed' if n == 1 else f'seeds, {number_text(low, kind)} to {number_text(high, kind)}'}"
            for point, a, b, n, low, high in part[["point", "x", "y", "n", "least", "most"]].itertuples(index=False)
        ]
        rows = zip(part["runs"], part["x"], part["y"], said, strict=True)
        figure.add_trace(
            go.Scatter(
                x=part["x"].to_numpy(float), y=value, mode="lines+markers+text" if alone else "lines+markers",
                name=str(name) or "runs", text=part["point"].tolist() if alone else None, textposition="top right",
                textfont={"size": 12, "color": t.ink}, cliponaxis=False,
                line={"color": color, "width": 1.5, "dash": _DASHES[number // 8 % len(_DASHES)]},
                marker={"size": 9, "color": color, "symbol": _SYMBOLS[number % len(_SYMBOLS)]},
                error_y={"type": "data", "symmetric": False, "array": part["most"].to_numpy(float) - value,
                         "arrayminus": value - part["least"].to_numpy(float), "color": color, "thickness": 1.2,
                         "width": 4, "visible": bool((part["n"] > 1).any())},
                customdata=[[runs.split(",")[0], a, b, runs, words] for runs, a, b, words in rows],
                hovertemplate=(f"{name}<br>" if name else "") + "%{customdata[4]}<extra></extra>",
                selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}},
            )
        )  # fmt: skip
    if mean_predictor is not None and np.isfinite(mean_predictor):
        figure.add_trace(
            go.Scatter(
                x=[float(good["x"].min()), float(good["x"].max())], y=[mean_predictor] * 2, mode="lines",
                name="mean predictor", line={"color": t.muted, "width": 1.5, "dash": "dash"},
                hovertemplate="mean predictor: %{y:.3f}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(type="log", tickformat=",.3~g", nticks=8)
    figure.update_yaxes(tickformat=tick_format(kind), rangemode="tozero")
    figure.update_layout(legend={"x": 1.02, "y": 1, "xanchor": "left"}, showlegend=True)
    return figure


def _faint(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
