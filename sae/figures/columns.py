"""The distribution of one number over features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import ThemeName, empty_note, metric_kind, metric_title, new_figure, theme_of, tick_format

if TYPE_CHECKING:
    import pandas as pd


def binned(values: np.ndarray, bins: int = 40, low: float | None = None, high: float | None = None) -> pd.DataFrame:
    """Equal bins over `values` [n] as a table: low, high, features; values that are not finite are left out.

    One value alone gets one bin around it.
    """
    import pandas as pd

    good = np.asarray(values, float)
    good = good[np.isfinite(good)]
    if not len(good):
        return pd.DataFrame({"low": np.empty(0), "high": np.empty(0), "features": np.empty(0, np.int64)})
    start = float(good.min()) if low is None else low
    end = float(good.max()) if high is None else high
    if end - start <= 1e-6 * max(abs(start), abs(end), 1e-6):
        margin = 0.05 * max(abs(end), 1e-3)
        edges = np.array([start - margin, end + margin])
    else:
        edges = np.linspace(start, end, bins + 1)
    counts, _ = np.histogram(good, edges)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "features": counts})


def column_histogram(
    table: pd.DataFrame,
    column: str,
    *,
    title: str | None = None,
    subtitle: str = "",
    x_title: str | None = None,
    log_y: bool = False,
    theme: ThemeName = "light",
    height: int = 300,
) -> go.Figure:
    """A table of `binned` as bars. `column` names the axis and says how its numbers are written."""
    t = theme_of(theme)
    figure = new_figure(
        metric_title(column) if title is None else title, subtitle, x_title=x_title or metric_title(column),
        y_title="Features (log)" if log_y else "Features", theme=theme, height=height,
    )  # fmt: skip
    if not len(table) or not table["features"].sum():
        return empty_note(figure, "No feature has a value", theme)
    low, high, counts = (table[name].to_numpy(float) for name in ("low", "high", "features"))
    figure.add_trace(
        go.Bar(
            x=(low + high) / 2, width=high - low, y=np.where(counts > 0, counts, np.nan), name="features",
            marker={"color": t.bar, "line": {"width": 0.5, "color": t.paper}},
            customdata=np.column_stack([low, high]),
            hovertemplate="%{customdata[0]:.4~g} to %{customdata[1]:.4~g}: %{y:,} features<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(tickformat=tick_format(metric_kind(column)))
    figure.update_yaxes(type="log" if log_y else "linear", tickformat=",", rangemode="tozero")
    if log_y:
        figure.update_yaxes(dtick=1, range=[np.log10(0.6), np.log10(float(counts.max()) * 1.6)])
    figure.update_layout(showlegend=False, bargap=0)
    return figure
