"""A figure and what belongs to it: what it means, its formula, its numbers, a copy to keep, how to make it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import link
from sae.ui import reproduce as recipes
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
    fig: go.Figure,
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
    title = title if title is not None else str(fig.layout.title.text or "Figure")
    said = str(fig.layout.title.subtitle.text or "")
    caption = f"{meaning} {plain(said[:1].upper() + said[1:])}." if said else meaning
    with st.container(key=f"panel_{key}", gap="xxsmall"):
        _head(title, n, caption, lambda: toolbar(
            fig, table, key=key, title=title, filename=filename, meaning=meaning, formula=formula,
            reproduce=reproduce, columns=columns, n=n,
        ))  # fmt: skip
        chart(fig, key=key, alt=f"{title}. {meaning}", on_select=on_select, height=height)


def chart(
    fig: go.Figure, *, key: str, alt: str, on_select: Callable[[], None] | None = None, height: int | None = None
) -> None:
    """The figure alone, without its title, in its own colours, with a modebar that has only what works here."""
    config = {**_CONFIG, "toImageButtonOptions": {"format": "png", "scale": 2, "filename": key}}
    with _without_title(fig):
        if height is not None:
            fig.layout.height = height
        if on_select is None:
            st.plotly_chart(fig, key=key, theme=None, config=config, alt=alt)
        else:
            st.plotly_chart(
                fig, key=key, theme=None, config=config, alt=alt, on_select=on_select, selection_mode="points"
            )


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
    latex: Callable[[], str] | None = None,
    n: int | str | None = None,
) -> None:
    """Small buttons: what it means, its table, files to keep, how to make it again, its link.

    Outside of a panel it goes into a `link.panel` of its key, without `_tools`. `fig` None: a table's toolbar.
    """
    st.html(_STYLE)
    with st.container(horizontal=True, gap=None, width="content", key=f"{key.removesuffix('_tools')}_tools"):
        if formula:
            with st.popover(":material/help:", type="tertiary", key=f"{key}_what", help=f"What it means: {title}"):
                st.markdown(f"{meaning}\n\n{formula}".strip())
        if fig is not None:
            with st.popover(":material/table_rows:", type="tertiary", key=f"{key}_table", help="Numbers as a table"):
                shown, config = as_shown(table, columns)
                st.dataframe(
                    shown, hide_index=True, column_config=config, width=560, alt=f"Numbers of {title}",
                    height=min(38 + 35 * max(len(table), 1), 420),
                )  # fmt: skip
        with st.popover(":material/download:", type="tertiary", key=f"{key}_save", help="Download"):
            downloads(
                fig, table, key=key, filename=filename, title=title, meaning=meaning, n=_words(n), latex=latex,
                reproduce=reproduce,
            )  # fmt: skip
        if reproduce is not None:
            with st.popover(":material/terminal:", type="tertiary", key=f"{key}_again", help="Reproduce"):
                recipes.show(reproduce)
        link.of_panel(key.removesuffix("_tools"))


# Small icons side by side: without the arrows that say "opens something", which every one of them does.
_STYLE = """<style>
[class*="_tools"] [data-testid="stPopoverButton"] { padding: 0 .3rem; min-height: 1.75rem; opacity: .75; }
[class*="_tools"] [data-testid="stPopoverButton"]:is(:hover, :focus-visible, [aria-expanded="true"]) { opacity: 1; }
[class*="_tools"] [data-testid="stPopoverButton"] > div > div[aria-hidden="true"] { display: none; }
</style>"""


def _head(title: str, n: int | str | None, meaning: str, tools: Callable[[], None]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{plain(title)}**", width="stretch")
        tools()
    counted = "" if n is None else f"n = {plain(_words(n))}."
    if meaning or counted:
        st.caption(f"{meaning} {counted}".strip())


def _words(n: int | str | None) -> str:
    return "" if n is None else count(n) if isinstance(n, int) else n


@contextmanager
def _without_title(fig: go.Figure) -> Iterator[None]:
    """Take the figure's title away while it is drawn; cheaper than a copy. A shared figure must have none."""
    title, top = fig.layout.title.to_plotly_json(), fig.layout.margin.t
    if not title.get("text"):
        yield
        return
    fig.layout.title, fig.layout.margin.t = None, 14
    yield
    fig.layout.title, fig.layout.margin.t = title, top


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
