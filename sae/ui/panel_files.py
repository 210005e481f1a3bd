"""The files that a panel gives: its numbers, its figure, and the whole of it as a page that opens without a network."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from sae.report import tables
from sae.ui.page import theme

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae.report.recipes import Reproduce

_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|~<>$:^=-])|\*\*")


def downloads(
    fig: go.Figure | None,
    table: pd.DataFrame,
    *,
    key: str,
    filename: str,
    title: str = "",
    meaning: str = "",
    n: str = "",
    latex: Callable[[], str] | None = None,
    reproduce: Reproduce | None = None,
) -> None:
    """Buttons whose files are made when they are asked for, not before.

    Args:
        meaning, n: stand in the page; Markdown of our own, plain text.
        latex: makes the LaTeX file of a table that is printed in a way of its own; short tables have one anyway.
    """
    kinds: list[tuple[str, str, str, Callable[[], str | bytes]]] = [
        ("CSV", "csv", "text/csv", lambda: tables.csv(table)),
        ("JSON", "json", "application/json", lambda: tables.json(table)),
        ("Parquet", "parquet", "application/vnd.apache.parquet", lambda: tables.parquet(table)),
    ]
    if latex is not None or len(table) <= tables.MOST_PRINTED:
        kinds.append(("LaTeX", "tex", "text/x-tex", latex or (lambda: tables.latex(table, title))))
    kinds.append(
        (
            "HTML, opens offline",
            "html",
            "text/html",
            lambda: page_of(fig, table, filename, title, meaning, n, reproduce),
        )
    )
    if fig is not None:
        kinds += [
            ("SVG, through Chromium", "svg", "image/svg+xml", lambda: image(titled(fig, title), "svg")),
            ("PNG, through Chromium", "png", "image/png", lambda: image(titled(fig, title), "png")),
        ]
    for label, ending, mime, make in kinds:
        st.download_button(
            label, make, file_name=f"{filename}.{ending}", mime=mime, key=f"{key}_{ending}", on_click="ignore",
            type="tertiary",
        )  # fmt: skip


def page_of(
    fig: go.Figure | None,
    table: pd.DataFrame,
    filename: str,
    title: str,
    meaning: str = "",
    n: str = "",
    reproduce: Reproduce | None = None,
) -> str:
    """The panel as one HTML file (`sae.report`): light and dark, its numbers, SVG and PNG without Chromium."""
    from sae.report.document import Panel, Report
    from sae.report.render import to_html

    said = _ESCAPED.sub(lambda found: found.group(1) or "", meaning)
    panel = Panel("panel", title, said, table, fig, n, reproduce, theme())
    return to_html(Report(title or filename, "panel", "", (), [panel], reads=reproduce.reads if reproduce else {}))


def image(fig: go.Figure, ending: str) -> bytes:
    """The figure as PNG or SVG. Raises UserError where there is no Chromium; the page gives both without one."""
    from sae.figures.export import to_png

    with tempfile.TemporaryDirectory() as folder:
        return to_png(fig, Path(folder) / f"figure.{ending}", width=900).read_bytes()


def titled(fig: go.Figure, title: str) -> go.Figure:
    """The figure under a title, its own if it has one."""
    import plotly.graph_objects as go

    if fig.layout.title.text or not title:
        return fig
    return go.Figure(fig).update_layout(title={"text": title, "x": 0, "xref": "paper"}, margin={"t": 46})
