"""Quality against sparsity: every configuration, which ones nobody beats, and what they are measured
against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.grid import label
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

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "star")
_DASHES = ("dash", "dot", "dashdot", "longdash")


def frontier(
    table: pd.DataFrame,
    *,
    x: str = "k",
    y: str = "ev_total",
    group: str | None = "d_sae",
    on_frontier: str = "on_frontier",
    beaten_by: str = "beaten_by",
    error: str | None = None,
    run: str = "run",
    baselines: Mapping[str, pd.DataFrame] | None = None,
    log_x: bool = True,
    focus: bool = True,
    staircase: bool = False,
    title: str | None = None,
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """Configurations by two metrics; those on the frontier filled, the dominated hollow.

    Args:
        table: one line a configuration: `x`, `y`, and where known `group` (colour and symbol),
            `on_frontier` (bool; else all count as on it), `beaten_by` (text for the hover: what dominates
            it), `error` (half the error bar, in y), `run`. Lines without a value of `x` or `y` are left
            out.
        baselines: name -> table of `x` and `y`, drawn as a line; one line means the same at every x.
        focus: the y axis spans the runs; a baseline that lies wholly outside is named in the legend with the word
            "below" or "above". Else it spans everything.
        staircase: join the frontier's points (makes sense for two objectives only).

    Groups that share an x stand side by side, a little apart. Each point's customdata are [run, what the hover says].
    """
    t = theme_of(theme)
    title = f"{metric_title(y)} against {metric_title(x).split(' (')[0]}" if title is None else title
    figure = new_figure(title, subtitle, x_title=metric_title(x), y_title=metric_title(y), theme=theme, height=height)
    good = table[np.isfinite(table[[x, y]].to_numpy(float)).all(axis=1)] if len(table) else table
    if not len(good):
        return empty_note(figure, "No finished runs yet", theme)
    best = good[on_frontier].to_numpy(bool) if on_frontier in good else np.ones(len(good), bool)
    ticks = sorted(set(good[x].astype(float)))
    span = _span(good, y, error)
    dodge = _dodged(ticks, log_x)
    for number, (name, line) in enumerate((baselines or {}).items()):
        line = line.sort_values(x) if x in line else line
        flat = x not in line or len(line) == 1
        across = np.array([ticks[0], ticks[-1]]) if flat else line[x].to_numpy(float)
        up = np.repeat(line[y].to_numpy(float)[:1], 2) if flat else line[y].to_numpy(float)
        where = ""
        if focus and np.isfinite(up).any() and (np.nanmax(up) < span[0] or np.nanmin(up) > span[1]):
            where = ", below" if np.nanmax(up) < span[0] else ", above"
        figure.add_trace(
            go.Scatter(
                x=across, y=up, mode="lines", name=name + where, legendgroup="baselines",
                line={"color": t.muted, "width": 1.5, "dash": _DASHES[number % len(_DASHES)]},
                hovertemplate=f"{name}: %{{y:.3f}}<extra></extra>",
            )
        )  # fmt: skip
    if staircase and best.any():
        steps = good[best].sort_values([x, y])
        figure.add_trace(
            go.Scatter(
                x=steps[x].to_numpy(float), y=steps[y].to_numpy(float), mode="lines", name="frontier",
                line={"color": t.ink, "width": 1, "shape": "hv"}, hoverinfo="skip",
            )
        )  # fmt: skip
    groups = sorted(set(good[group])) if group is not None and group in good else [None]
    for number, member in enumerate(groups):
        inside = np.ones(len(good), bool) if member is None else (good[group] == member).to_numpy()
        lines, filled = good[inside], best[inside]
        color = category_color(number, theme)
        places = [dodge(value, number - (len(groups) - 1) / 2) for value in lines[x].astype(float)]
        sds = lines[error].to_numpy(float) if error and error in lines else np.full(len(lines), np.nan)
        hover = [
            _hover(row, x, y, group, error, beaten_by, bool(is_best))
            for row, is_best in zip(lines.to_dict("records"), filled, strict=True)
        ]
        ids = [str(value) for value in lines[run]] if run in lines else [""] * len(lines)
        figure.add_trace(
            go.Scatter(
                x=places, y=lines[y].to_numpy(float), mode="markers",
                name="runs" if member is None else label(member),
                legendgrouptitle={"text": metric_title(group)} if group and member is not None else None,
                legendgroup="runs",
                marker={
                    "symbol": _SYMBOLS[number % len(_SYMBOLS)], "size": 11,
                    "color": [color if is_best else t.paper for is_best in filled],
                    "line": {"color": color, "width": 2},
                },
                error_y={"type": "data", "array": sds, "color": color, "thickness": 1.2, "width": 4,
                         "visible": bool(np.isfinite(sds).any())},
                customdata=[[i, said] for i, said in zip(ids, hover, strict=True)],
                hovertemplate="%{customdata[1]}<extra></extra>",
                selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}},
                showlegend=member is not None,
            )
        )  # fmt: skip
    if not best.all():
        figure.add_trace(
            go.Scatter(
                x=[None], y=[None], mode="markers", name="dominated (hollow)", legendgroup="runs", hoverinfo="skip",
                marker={"symbol": "circle", "size": 10, "color": t.paper, "line": {"color": t.muted, "width": 2}},
            )
        )  # fmt: skip
    figure.update_yaxes(tickformat=tick_format(metric_kind(y)), range=span if focus else None)
    if log_x and ticks[0] > 0:
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[label(value) for value in ticks])
    figure.update_layout(legend={"x": 1.02, "y": 1, "xanchor": "left", "tracegroupgap": 12})
    return figure


def _span(table: pd.DataFrame, y: str, error: str | None) -> list[float]:
    """The runs' range in y with their error bars, and a margin."""
    values = table[y].to_numpy(float)
    bars = np.nan_to_num(table[error].to_numpy(float)) if error and error in table else np.zeros(len(values))
    low, high = float((values - bars).min()), float((values + bars).max())
    margin = 0.12 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - margin, high + margin]


def _dodged(ticks: list[float], log_x: bool) -> Callable[[float, float], float]:
    """(x, steps aside) -> x moved by steps of 2 % of the axis's length."""
    if log_x and ticks[0] > 0:
        factor = (max(ticks[-1] / ticks[0], 2.0)) ** 0.02
        return lambda value, steps: value * factor**steps
    width = 0.02 * ((ticks[-1] - ticks[0]) or 1.0)
    return lambda value, steps: value + steps * width


def _hover(row: dict, x: str, y: str, group: str | None, error: str | None, beaten_by: str, is_best: bool) -> str:
    names = [name for name in (x, group) if name and name in row]
    said = [f"{metric_title(name)}: {number_text(row[name], metric_kind(name))}" for name in names]
    value = number_text(row[y], metric_kind(y))
    if error and error in row and np.isfinite(row[error]):
        value += f" ± {number_text(row[error], metric_kind(y))}"
    said.append(f"{metric_title(y)}: {value}")
    beaten = str(row.get(beaten_by) or "")
    said.append("on the frontier" if is_best else f"dominated by {beaten}" if beaten else "dominated")
    return "<br>".join(said)
