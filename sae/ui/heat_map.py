"""Clicks on figures: which cell or point it was.

A Plotly heat map emits nothing when a cell is clicked; the squares that `sae.figures.grid` lays over its cells do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st


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


def runs_clicked(key: str) -> list[str]:
    """The runs of the heat map's cell that was clicked; [] where none was, or the cell has no run."""
    data = clicked(key)
    if not isinstance(data, list) or len(data) < 4:
        return []
    return [run for run in str(data[3]).split(",") if run]


def when_clicked(key: str, action: Callable[[list[str]], None]) -> Callable[[], None]:
    """An `on_select` that calls `action` with the runs of the cell that was clicked, if it has any."""

    def selected() -> None:
        runs = runs_clicked(key)
        if runs:
            action(runs)

    return selected
