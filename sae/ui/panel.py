"""A figure and what belongs to it: what it means, its formula, its numbers, a copy to keep, how to make it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import link, page
from sae.ui import reproduce as recipes
from sae.ui.drawn import Drawn, drawn
from sae.ui.panel_files import downloads
from sae.ui.tables import as_shown
from sae.ui.words import count, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae.ui.reproduce import Reproduce

_CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    "responsive": True,
}


def figure_panel(
    fig: go.Figure | Drawn,
    table: pd.DataFrame,
    *,
    key: str,
    meaning: str,
    filename: str,
    title: str | None = None,
    n: int | str | None = None,
    formula: str | None = None,
    reproduce: Reproduce | None = None,
    columns: Mapping[str, Any] | None = None,
    on_select: Callable[[], None] | None = None,
    height: int | None = None,
) -> None:
    """Show a figure with its toolbar: explanation, table, downloads, Reproduce.

    The figure's own title and subtitle move into the panel's head, and stand in the files that are downloaded.

    Args:
        fig: not to be changed any more.
        table: the numbers of the figure, for the table and the CSV and JSON downloads.
        meaning: one line under the title; Markdown of our own.
        title: plain text; None takes the figure's.
        n: what it is drawn from: a number, or words as `n = 7,473 rows` has them after the sign.
        formula: Markdown of our own, LaTeX between $$.
        filename: stem of the downloaded files.
        columns: Streamlit's `column_config` for the table.
        on_select: called when a point is clicked; `heat_map.clicked(key)` says which.
    """
    if link.hidden(key):
        return
    fig = fig if isinstance(fig, Drawn) else drawn(fig)
    title = title if title is not None else fig.title or "Figure"
    said = fig.subtitle
    caption = f"{meaning} {plain(said[:1].upper() + said[1:])}." if said else meaning
    with st.container(key=f"panel_{key}", gap="xxsmall"):
        _head(title, n, caption, lambda: toolbar(
            fig, table, key=key, title=title, filename=filename, meaning=meaning, formula=formula,
            reproduce=reproduce, columns=columns, n=n,
        ))  # fmt: skip
        chart(fig, key=key, alt=f"{title}. {meaning}", on_select=on_select, height=height)


def chart(
    fig: go.Figure | Drawn,
    *,
    key: str,
    alt: str,
    on_select: Callable[[], None] | None = None,
    height: int | None = None,
) -> None:
    """The figure alone, without its title, in its own colours, with a modebar that has only what works here."""
    shown = (fig if isinstance(fig, Drawn) else drawn(fig)).without_title()
    if height is not None:
        shown = shown.high(height)
    config = {**_CONFIG, "toImageButtonOptions": {"format": "png", "scale": 2, "filename": key}}
    shared: dict[str, Any] = {"key": key, "theme": None, "config": config, "alt": alt}
    if on_select is None:
        st.plotly_chart(shown.for_streamlit(), **shared)
    else:
        st.plotly_chart(shown.for_streamlit(), on_select=on_select, selection_mode="points", **shared)


def toolbar(
    fig: go.Figure | Drawn | None,
    table: pd.DataFrame,
    *,
    key: str,
    title: str,
    filename: str,
    meaning: str = "",
    formula: str | None = None,
    reproduce: Reproduce | None = None,
    columns: Mapping[str, Any] | None = None,
    latex: Callable[[], str] | None = None,
    n: int | str | None = None,
) -> None:
    """Small buttons: what it means, its table, files to keep, how to make it again, its link.

    Outside of a panel it goes into a `link.panel` of its key, without `_tools`. `fig` None: a table's toolbar. What a
    button opens is made when it is opened: a page has many, and most are never looked into.
    """

    @st.fragment  # what is opened need not wait for the page
    def tools() -> None:
        with st.container(horizontal=True, gap=None, width="content"):
            if formula:
                with st.popover(":material/help:", type="tertiary", key=f"{key}_what", help=f"What it means: {title}"):
                    st.markdown(f"{meaning}\n\n{formula}".strip())
            if fig is not None:
                _when_open(":material/table_rows:", f"{key}_table", "Numbers as a table", lambda: _numbers(
                    table, columns, title
                ))  # fmt: skip
            _when_open(":material/download:", f"{key}_save", "Download", lambda: downloads(
                fig.figure() if isinstance(fig, Drawn) else fig, table, key=key, filename=filename, title=title,
                meaning=meaning, n=_words(n), latex=latex, reproduce=reproduce,
            ))  # fmt: skip
            if reproduce is not None:
                _when_open(":material/terminal:", f"{key}_again", "Reproduce", lambda: recipes.show(reproduce))
            link.of_panel(key.removesuffix("_tools"))

    with st.container(width="content", key=f"{key.removesuffix('_tools')}_tools"):
        tools()


def _when_open(icon: str, key: str, said: str, draw: Callable[[], None]) -> None:
    with st.popover(icon, type="tertiary", key=key, help=said, on_change="rerun") as shown:
        if shown.open:
            with page.errors_shown(f"opening “{said}”"):
                draw()


def _numbers(table: pd.DataFrame, columns: Mapping[str, Any] | None, title: str) -> None:
    shown, config = as_shown(table, columns)
    st.dataframe(
        shown, hide_index=True, column_config=config, width=560, alt=f"Numbers of {title}",
        height=min(38 + 35 * max(len(table), 1), 420),
    )  # fmt: skip


def _head(title: str, n: int | str | None, meaning: str, tools: Callable[[], None]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{plain(title)}**", width="stretch")
        tools()
    counted = "" if n is None else f"n = {plain(_words(n))}."
    if meaning or counted:
        st.caption(f"{meaning} {counted}".strip())


def _words(n: int | str | None) -> str:
    return "" if n is None else count(n) if isinstance(n, int) else n


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
    on_select: Callable[[], None] | None = None,
    shown: pd.DataFrame | None = None,
    latex: Callable[[], str] | None = None,
) -> None:
    """As `figure_panel`, for numbers that are shown as the table they are.

    Args:
        shown: what is drawn where the numbers are written in another way than the files have them.
        latex: makes a LaTeX file to be offered beside the others.
        on_select: called when a cell is clicked; it stands in `st.session_state[key]["selection"]["cells"]`.
    """
    if link.hidden(key):
        return
    with st.container(key=f"panel_{key}", gap="xxsmall"):
        _head(title, n, meaning, lambda: toolbar(
            None, table, key=key, title=title, filename=filename, meaning=meaning, formula=formula,
            reproduce=reproduce, latex=latex, n=n,
        ))  # fmt: skip
        table, config = as_shown(table if shown is None else shown, columns)
        shared: dict[str, Any] = {
            "hide_index": True,
            "column_config": config,
            "alt": title,
            "placeholder": "–",
            "height": "auto" if height is None else height,
        }
        if on_select is None:
            st.dataframe(table, **shared)
        else:
            st.dataframe(table, key=key, on_select=on_select, selection_mode="single-cell", **shared)
