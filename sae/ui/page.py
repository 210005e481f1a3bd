"""The frame of every page: its head, the workspace it shows, and errors in plain sentences."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import streamlit as st

from sae.common.errors import UserError, of_the_disk
from sae.ui import entry, role
from sae.ui.words import plain
from sae.workspace import Workspace

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_NOTES = "_page_notes"
_log = logging.getLogger("sae.pages")


def workspace() -> Workspace:
    """The workspace that this server shows (`SAE_WORKSPACE`, else `data/workspace`), one object for all."""
    if not role.may_look():  # as app.py has said already, but in the first run of a server, which goes past it
        entry.through_app()
        st.stop()
    return _workspace(str(Workspace.at().root))


@st.cache_resource(max_entries=8, show_spinner=False)
def _workspace(root: str) -> Workspace:
    return Workspace.at(root)


def theme() -> Literal["light", "dark"]:
    """The theme that the visitor sees, for figures."""
    return "dark" if st.context.theme.type == "dark" else "light"


def head(title: str, question: str) -> DeltaGenerator:
    """The page's name and the question it answers; returns the container for links beside the name.

    Below stands an empty place for notes (`note`).
    """
    entry.through_app()
    st.set_page_config(page_title=f"{title} · SAE Workbench")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="page_head"):
        with st.container(gap=None):
            st.title(title, anchor=False)
            st.caption(question)
        beside = st.container(horizontal=True, horizontal_alignment="right", width="content")
        from sae.ui import link  # which knows this file

        link.of_page()
    st.session_state[_NOTES] = st.container(key="page_notes")
    return beside


def note(text: str) -> None:
    """One line under the page's head: something the visitor should know about the page as a whole.

    `text` is shown as it stands, without Markdown.
    """
    place = st.session_state.get(_NOTES)
    (place if place is not None else st).warning(plain(text))


def show_error(error: str) -> None:
    """One line about what went wrong; shown as it stands, without Markdown."""
    st.error(plain(error))


@contextmanager
def errors_shown(doing: str = "showing this part") -> Iterator[None]:
    """Show what goes wrong inside: a UserError in one line, anything else as a sentence, its detail folded.

    Args:
        doing: what the block does, for `Something went wrong while DOING.`
    """
    try:
        yield
    except UserError as error:
        show_error(str(error))
    except Exception as error:
        said = of_the_disk(error) if isinstance(error, OSError) else None
        if said is not None:
            show_error(str(said))
            return
        _log.exception("while %s", doing)
        st.error(
            f"Something went wrong while {plain(doing)}. The rest of the page still works; trying again may "
            "help, and the detail below belongs into a report of the problem."
        )
        with st.expander(f"Detail: {plain(type(error).__name__)}"):
            st.code("".join(traceback.format_exception(error)), language=None)


def demo_wanted() -> bool:
    """Whether an empty workspace starts the demo by itself (`SAE_DEMO=off` says no)."""
    return os.environ.get("SAE_DEMO", "").lower() not in ("off", "0", "false", "no")
