"""A run that waits, trains, stopped or failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import empty, page
from sae.ui.run_configuration import configuration_tables
from sae.ui.run_overview import curves
from sae.ui.words import plain, share

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder

EVERY = 2.0  # s between looks at a run in training


def unfinished(workspace: Workspace, run: RunFolder) -> None:
    """A run that waits, trains, stopped or failed: what is known, its curve so far, and where to go on."""
    experiment = run.config.get("experiment")

    @st.fragment(run_every=EVERY if run.error is None else None)
    def live() -> None:
        if run.done:
            st.rerun()
        line: dict[str, Any] = {}
        if experiment:
            table = workspace.experiment(experiment).runs_table()
            line = next((one for one in table.to_dict("records") if one["id"] == run.id), {})
        state = str(line.get("status", "failed" if run.error else "unfinished"))
        if run.error:
            page.show_error(f"This run failed: {run.error}")
        elif state == "running":
            st.progress(float(line["fraction"]), text=f"Training: {share(float(line['fraction']))}")
        else:
            st.info(f"This run is {plain(state)}; what it will show appears when it has been trained and measured.")
        history = run.history()
        if len(history):
            curves(run, history)
        if experiment:
            empty.link("train", "Watch, resume or retry", experiment=experiment, show="watch")

    live()
    with st.expander("Configuration"):
        configuration_tables(run)
