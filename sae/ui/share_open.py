"""A bundle that somebody sent: what is in it, what it says otherwise than ours, and taking it in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pandas as pd
import streamlit as st

from sae.report.visible import visible
from sae.ui import empty, page, pickers, role
from sae.ui.commands import keep_uploads, run_command
from sae.ui.panel import table_panel
from sae.ui.words import bytes_text, count, plain, plural

if TYPE_CHECKING:
    from streamlit.typing import UploadedFile

    from sae.workspace import Workspace

_SAID = "share_opened"
_COLUMNS = {"run": "Run", "what": "What", "feature": "Feature", "ours": "Here", "theirs": "In the bundle",
            "outcome": "What becomes of it"}  # fmt: skip


def show(workspace: Workspace) -> None:
    """Choose a bundle, look into it, take it in."""
    st.caption(
        "A bundle is checked first: sizes, hashes, names, and that each run's files fit each other. What is here "
        "stays; where both sides wrote something, both stand."
    )
    if not role.may_change():
        st.info(f"Only who may change this workspace can open a bundle in it: {plain(role.why_not())}.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        with st.container(width=420):
            upload = st.file_uploader("Bundle", type=["zip"], key="share_file")
        path = ""
        if role.local():
            with st.container(width=330):
                path = pickers.pick_text("Or its path on the server", name="path", placeholder="/home/me/grid.zip")
    if upload is None and not path.strip():
        st.session_state.pop(_SAID, None)
        return
    asked = f"{upload.file_id}" if upload else path.strip()
    with st.container(horizontal=True):
        if st.button("Look into it", key="share_look"):
            _run(workspace, asked, upload, path, look=True)
        if st.button("Take it in", type="primary", key="share_take"):
            _run(workspace, asked, upload, path, look=False)
    said = st.session_state.get(_SAID)
    if said is not None and said["asked"] == asked:
        _shown(workspace, said["found"], said["look"])


def _run(workspace: Workspace, asked: str, upload: UploadedFile | None, path: str, *, look: bool) -> None:
    """In a process of its own: weights are read by torch, and a bundle is other people's."""
    st.session_state.pop(_SAID, None)
    with page.errors_shown("opening the bundle"), tempfile.TemporaryDirectory() as scratch:
        role.require_change("opening a bundle")
        file = keep_uploads([upload], Path(scratch)) if upload else Path(path.strip()).expanduser().absolute()
        with st.spinner("Checking the bundle"):
            found = run_command(workspace, ["open", file, *(["--look"] if look else [])])
        st.session_state[_SAID] = {"asked": asked, "found": found, "look": look}


def _shown(workspace: Workspace, found: dict[str, Any], look: bool) -> None:
    added, here = len(found["added"]), len(found["here"])
    doing = "would be added" if look else "added"
    st.markdown(f"**{plain(found['title'])}**: {count(added)} {doing}, {count(here)} here already.")
    for line in found["refused"]:
        st.warning(plain(line))
    for theirs, ours in found["renamed"].items():
        st.caption(f"{plain(theirs)} stands for something else here: theirs is called {plain(ours)}.")
    for need in found["needs"]:
        size = f" ({bytes_text(need['bytes'])})" if isinstance(need.get("bytes"), int) else ""
        st.caption(f"Without the hidden states of {plain(need.get('activations'))}{size}: ask who sent it.")
    if found["differences"]:
        table = pd.DataFrame(found["differences"])
        for name in ("ours", "theirs"):
            table[name] = [visible(text) for text in table[name]]
        said = f"{count(len(table))} {plural(len(table), 'difference')}"
        table_panel(
            table, key="share_differences", title="What differs", meaning=f"{said} in what people wrote.",
            filename="bundle-differences", columns=_COLUMNS,
        )  # fmt: skip
    with st.expander(f"{count(added + here)} things in it"):
        lines = [(name, "new") for name in found["added"]] + [(name, "here already") for name in found["here"]]
        st.dataframe(pd.DataFrame(lines, columns=["what", "state"]), hide_index=True, alt="What is in the bundle")
    if found["view"] and not look:
        link(found["view"], "Open what was sent")


def link(view: str, label: str) -> bool:
    """A link to a page of the app with its choices; False if there is no such page."""
    stem, _, query = view.partition("?")
    if not (empty.PAGES / f"{stem}.py").exists():
        return False
    choices = {name: found if len(found) > 1 else found[0] for name, found in parse_qs(query).items()}
    empty.link(stem, label, **choices)
    return True
