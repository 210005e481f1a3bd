"""A figure and what belongs to it: what it means, its formula, its numbers, a copy to keep, how to make it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.ui import reproduce as recipes
from sae.ui.words import count, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae.ui.reproduce import Reproduce

_CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "toImage", "zoomIn2d", "zoomOut2d"],
    "responsive": True,
}


def figure_panel(
    fig: go.Figure,
    table: pd.DataFrame,
    *,
    key: str,
    title: str,
    meaning: str,
    filename: str,
    n: int | str | None = None,
    formula: str | None = None,
    reproduce: Reproduce | None = None,
    columns: Mapping[str, Any] | None = None,
    on_select: Callable[[], None] | None = None,
    height: int | None = None,
) -> None:
    """Show a figure with its toolbar: explanation, table, downloads, Reproduce.

    Args:
        table: the numbers of the figure, for the table and the CSV and JSON downloads.
        meaning: one line under the title; Markdown of our own.
        n: how many things it is drawn from; a number is written with separators.
        formula: Markdown of our own, LaTeX between $$.
        filename: stem of the downloaded files.
        columns: Streamlit's `column_config` for the table.
        on_select: called when a point is clicked; the points are in `st.session_state[key]` (see `heat_map`).
    """
    with st.container(key=f"panel_{key}", gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            counted = "" if n is None else f" :gray[n = {count(n) if isinstance(n, int) else plain(n)}]"
            st.markdown(f"**{title}**{counted}", width="stretch")
            toolbar(fig, table, key=key, title=title, filename=filename, meaning=meaning, formula=formula,
                    reproduce=reproduce, columns=columns)
        st.caption(meaning)
        chart(fig, key=key, alt=f"{title}. {meaning}", on_select=on_select, height=height)


def chart(
    fig: go.Figure, *, key: str, alt: str, on_select: Callable[[], None] | None = None, height: int | None = None
) -> None:
    """The figure alone, in its own colours, with a modebar that has only what works here."""
    if height is not None:
        fig.update_layout(height=height)
    if on_select is None:
        st.plotly_chart(fig, key=key, theme=None, config=_CONFIG, alt=alt)
    else:
        st.plotly_chart(fig, key=key, theme=None, config=_CONFIG, alt=alt, on_select=on_select, selection_mode="points")


def toolbar(
    fig: go.Figure | None,
    table: pd.DataFrame,
    *,
    key: str,
    title: str,
    filename: str,
    meaning: str = "",
    formula: str | None = None,
    reproduce: Reproduce | None = None,
    columns: Mapping[str, Any] | None = None,
) -> None:
    """Small buttons: what it means, its table, files to keep, how to make it again. `fig` None: a table's toolbar."""
    with st.container(horizontal=True, gap="xxsmall", width="content", key=f"{key}_tools"):
        if formula:
            with st.popover(":material/help:", type="tertiary", key=f"{key}_what", help=f"What {title} means"):
                st.markdown(meaning)
                st.markdown(formula)
        if fig is not None:
            with st.popover(":material/table_rows:", type="tertiary", key=f"{key}_table", help="Numbers as a table"):
                st.dataframe(table, hide_index=True, column_config=dict(columns or {}), width=560,
                             height=min(38 + 35 * max(len(table), 1), 420), alt=f"Numbers of {title}")
        with st.popover(":material/download:", type="tertiary", key=f"{key}_save", help="Download"):
            downloads(fig, table, key=key, filename=filename)
        if reproduce is not None:
            with st.popover(":material/terminal:", type="tertiary", key=f"{key}_again", help="Reproduce this"):
                recipes.show(reproduce)


def downloads(fig: go.Figure | None, table: pd.DataFrame, *, key: str, filename: str) -> None:
    """Buttons whose files are made when they are asked for, not before."""
    kinds: list[tuple[str, str, str, Callable[[], str | bytes]]] = [
        ("CSV", "csv", "text/csv", lambda: table.to_csv(index=False)),
        ("JSON", "json", "application/json", lambda: table.to_json(orient="records", indent=1) or "[]"),
    ]
    if fig is not None:
        kinds += [
            ("HTML, opens offline", "html", "text/html", lambda: standalone_html(fig)),
            ("PNG", "png", "image/png", lambda: png(fig)),
        ]
    for label, ending, mime, make in kinds:
        st.download_button(label, make, file_name=f"{filename}.{ending}", mime=mime, key=f"{key}_{ending}",
                           on_click="ignore", type="tertiary")


def standalone_html(fig: go.Figure) -> str:
    """A page of its own with the figure, plotly.js included: it opens without a network."""
    return fig.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False})


def png(fig: go.Figure, scale: float = 2.0) -> bytes:
    """The figure as PNG through kaleido and a Chromium.

    Raises:
        UserError: where there is none; the other formats need neither.
    """
    try:
        return fig.to_image(format="png", scale=scale, width=900, height=fig.layout.height or 500)
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UserError(f"a PNG needs kaleido and Chromium or Chrome: {reason[0]}; HTML and CSV need neither") from None


def table_panel(
    table: pd.DataFrame,
    *,
    key: str,
    title: str,
    meaning: str,
    filename: str,
    n: int | str | None = None,
    formula: str | None = None,
    reproduce: Reproduce | None = None,
    columns: Mapping[str, Any] | None = None,
    height: int | None = None,
    hidden: Sequence[str] = (),
) -> None:
    """As `figure_panel`, for numbers that are shown as the table they are."""
    with st.container(key=f"panel_{key}", gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            counted = "" if n is None else f" :gray[n = {count(n) if isinstance(n, int) else plain(n)}]"
            st.markdown(f"**{title}**{counted}", width="stretch")
            toolbar(None, table, key=key, title=title, filename=filename, meaning=meaning, formula=formula,
                    reproduce=reproduce)
        st.caption(meaning)
        config = {**(columns or {}), **dict.fromkeys(hidden)}
        st.dataframe(table, hide_index=True, column_config=config, alt=title,
                     height="auto" if height is None else height)


