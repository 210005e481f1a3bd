"""The address bar as the one place where a page's choices stand.

A widget made here takes its value from the address on every run and writes it there when the visitor
changes it, so an address opened elsewhere, Back and Forward, links with `query_params`, and a change from
code (`choose`) all work alike. Streamlit's own `bind="query-params"` leaves defaults out of the address (a
link to "the newest experiment" would show another one tomorrow) and refuses links that set a bound name. Here
only a fixed default is left out; what depends on the workspace is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import streamlit as st

from sae.common.errors import UserError
from sae.ui.page import note
from sae.workspace.server_config import server_config

#: Says in a link who made it.
SENDER = "from"
# What a link needs to be there, which a workspace may not have.
_NEEDED = ("activations", "experiment", "run")
_CARRIED = "_address_carried"
_PENDING = "_address_pending"
_CHOSEN = "_address_chosen"

# A click that leaves the browser before it has heard of the last choice carries the address from before it.
UNHEARD_SECONDS = 1.0


def get(name: str) -> str | None:
    """What the address says for `name`; None if it says nothing."""
    return st.query_params.get(name)


def get_all(name: str) -> list[str]:
    """Every choice that the address has for `name`."""
    return st.query_params.get_all(name)


def carried(name: str) -> str | None:
    """What the visitor chose for `name` on the pages before, among what is kept from page to page."""
    return st.session_state.get(_CARRIED, {}).get(name)


def choose(*, drop: Iterable[str] = (), **values: Any) -> None:
    """Write choices into the address and forget those named in `drop`; widgets follow on the next run.

    None takes a name out. A list stands for several choices.
    """
    carried = st.session_state.setdefault(_CARRIED, {})
    for name in [*drop, *(name for name, value in values.items() if value is None)]:
        carried.pop(name, None)
        st.session_state.get(_CHOSEN, {}).pop(name, None)
        if name in st.query_params:
            del st.query_params[name]
    for name, value in values.items():
        if value is not None:
            text = [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]
            before = st.query_params.get_all(name)
            if before != text:
                st.query_params[name] = text
                st.session_state.setdefault(_CHOSEN, {})[name] = (before, text, time.monotonic())


def catch_up() -> None:
    """Put back choices of the last second that this run's address does not know yet; called by app.py before the page.

    Each run comes with the browser's address. Two events close together (a key, then a table that loses its selection)
    would otherwise end with the first one's address over the page of the one before it.
    """
    chosen = st.session_state.get(_CHOSEN, {})
    for name, (before, text, when) in list(chosen.items()):
        if time.monotonic() - when > UNHEARD_SECONDS:
            del chosen[name]
        elif st.query_params.get_all(name) == before:
            st.query_params[name] = text


def write() -> None:
    """Write the defaults that this run settled on, all at once; called by app.py after the page."""
    pending = st.session_state.pop(_PENDING, {})
    new = {name: text for name, text in pending.items() if name not in st.query_params}
    if new:
        st.query_params.update(new)


def prepare(
    name: str,
    default: Any,
    read: Callable[[str], Any],
    *,
    carry: bool = False,
    fixed: bool = True,
    needs: str | None = None,
) -> None:
    """Set the widget `name` to what the address says, before it is drawn.

    Args:
        read: turns the address's text into a value; raises ValueError for one that can't be had here.
        carry: keep the choice when the visitor goes to another page by the sidebar.
        needs: `activations`, `experiment` or `run` where the choice is one of these under another name.
        fixed: `default` never changes, so it need not stand in the address.
    """
    text = st.query_params.get(name)
    carried = st.session_state.setdefault(_CARRIED, {})
    value = default
    if text is not None:
        try:
            value = read(text)
        except ValueError as error:
            why = str(error) or "is not here"
            kind = needs or name
            if kind in _NEEDED:
                say_missing(name, f"this shows {kind} {default!r}", kind=kind)
            else:
                note(f"The address asks for {name} {text!r}, which {why}; this shows {name} {default!r}.")
            # The address stays as it came until the visitor chooses.
    elif carry and name in carried:
        try:
            value = read(carried[name])
        except ValueError:
            carried.pop(name)
    st.session_state[name] = value
    if value is None:
        return
    if carry:
        carried[name] = str(value)
    if st.query_params.get(name) is None and not (fixed and value == default):
        st.session_state.setdefault(_PENDING, {})[name] = str(value)


def say_missing(name: str, instead: str, missing: Sequence[str] | None = None, kind: str | None = None) -> None:
    """Say that the address needs an experiment, a run or activations that are not here, and who has them.

    Args:
        instead: what happens now, as a sentence goes on.
        missing: which of the choices of that name are not here; None: all of them.
        kind: what it is a name of, where `name` does not say it.
    """
    asked = [text for text in (get_all(name) if missing is None else missing) if text]
    if asked:
        one = len(asked) == 1
        kind = kind or name
        word, are, them = ("run" if kind == "runs" else kind, "is", "it") if one else (kind, "are", "them")
        note(
            f"The address asks for {word} {', '.join(map(repr, asked))}, which {are} not in this workspace: "
            f"{whom_to_ask()} has {them} and can send a bundle of {them}; {instead}."
        )


def whom_to_ask() -> str:
    """Who has what a link needs: the one who made the link, else this server's contact."""
    if sender := get(SENDER):
        return sender[:80]
    try:
        config = server_config()
    except UserError:  # app.py says what is wrong with it
        config = None
    return config.contact if config and config.contact else "whoever sent the link"


def prepare_many(name: str, default: Sequence[Any], options: Sequence[Any]) -> None:
    """As `prepare` for a widget with several values."""
    if name in st.query_params:
        known = {str(option): option for option in options}
        asked = [text for text in st.query_params.get_all(name) if text]
        st.session_state[name] = [known[text] for text in asked if text in known]
    else:
        st.session_state[name] = list(default)


def changed(name: str, default: Any = None, resets: Iterable[str] = (), then: Callable[[], None] | None = None) -> None:
    """The `on_change` of a widget: write its new value, or take it out if it is the fixed default.

    Args:
        resets: names that mean something else now (the run, when the experiment changes) and are forgotten.
    """
    value = st.session_state[name]
    if value is None or (default is not None and value == default):
        choose(drop=[name, *resets])
    elif isinstance(value, list):
        # An empty list is a choice too, where the default is not empty.
        choose(drop=resets, **{name: value or [""]})
    else:
        choose(drop=resets, **{name: value})
    if then is not None:
        then()
