"""What the Home page asks before a run is renamed, or runs or an experiment are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.ui import page, role
from sae.ui.words import count, plain
from sae.workspace.housekeeping import delete_runs, rename_run

if TYPE_CHECKING:
    from sae.workspace import Workspace


@st.dialog("Rename the run")
def rename(workspace: Workspace, run: str) -> None:
    """Ask for a name."""
    name = st.text_input("Name", value=workspace.run(run).config.get("name", ""), placeholder=run, max_chars=80)
    st.caption("Left empty, it is called by its factors.")
    if st.button("Rename", type="primary", key="rename_it"):
        with page.errors_shown("renaming the run"):
            role.require_change()
            rename_run(workspace, run, name)
            st.rerun()


@st.dialog("Delete runs")
def delete(workspace: Workspace, ids: list[str]) -> None:
    """Ask before runs go."""
    what = f"run {ids[0]}" if len(ids) == 1 else f"{count(len(ids))} runs"
    st.markdown(f"Delete {plain(what)} with weights, activations of features and notes? There is no way back.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="delete_it"):
            with page.errors_shown("deleting"):
                role.require_change()
                delete_runs(workspace, ids)
                st.rerun()
        if st.button("Keep", key="keep_it"):
            st.rerun()


@st.dialog("Delete an experiment")
def delete_experiment(workspace: Workspace, name: str) -> None:
    """Ask before an experiment goes."""
    runs = len(workspace.experiment(name).run_ids())
    what = f"and its {count(runs)} runs" if runs else "with what it measured; the measured runs stay"
    st.markdown(f"Delete experiment {plain(name)} {what}? There is no way back.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="delete_it"):
            with page.errors_shown("deleting"):
                role.require_change()
                workspace.delete_experiment(name)
                st.rerun()
        if st.button("Keep", key="keep_it"):
            st.rerun()
