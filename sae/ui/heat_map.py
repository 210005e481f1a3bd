"""Heat maps whose cells can be clicked.

A Plotly heat map emits nothing when a cell is clicked. What does is a marker, so an invisible square lies over each
cell and carries the cell's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MARK = {"symbol": "square", "size": 44, "opacity": 0.004, "color": "#808080"}


def clickable(fig: go.Figure) -> go.Figure:
    """Lay markers over the cells of every heat map of `fig`, on their own axes; returns `fig`.

    A marker's `customdata` is [x, y, name of the heat map]. It takes over the cell's hover text.
    """
    import plotly.graph_objects as go

    for heat in [trace for trace in fig.data if trace.type == "heatmap"]:
        places = [(x, y) for y in range(len(heat.y)) for x in range(len(heat.x))]
        words = heat.hovertext if heat.hovertext is not None else heat.text
        fig.add_trace(
            go.Scatter(
                x=[heat.x[x] for x, _ in places],
                y=[heat.y[y] for _, y in places],
                xaxis=heat.xaxis,
                yaxis=heat.yaxis,
                mode="markers",
                marker=_MARK,
                # what is clicked must not fade the rest
                selected={"marker": {"opacity": 0.004}},
                unselected={"marker": {"opacity": 0.004}},
                customdata=[[str(heat.x[x]), str(heat.y[y]), heat.name or ""] for x, y in places],
                hovertext=None if words is None else [words[y][x] for x, y in places],
                hoverinfo="text" if words is not None else "none",
                showlegend=False,
                name="",
            )
        )
        heat.hoverinfo = "skip"
    return fig


def clicked(key: str) -> Any | None:
    """The `customdata` of the point that was clicked in the chart `key`; None if none was."""
    state = st.session_state.get(key)
    if not isinstance(state, Mapping):
        return None
    points = (state.get("selection") or {}).get("points") or []
    data = points[0].get("customdata") if points else None
    if isinstance(data, Mapping):  # the browser sends a list as {"0": ..., "1": ...}
        return [data[place] for place in sorted(data, key=int)]
    return data
