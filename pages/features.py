"""Features: every feature of a run, and the card of one."""

from __future__ import annotations

import streamlit as st

from sae.ui import empty, features_view, page, run_picker

beside = page.head("Features", "What does each feature fire on, how often, and with which others?")

with page.errors_shown("reading the run"):
    workspace = page.workspace()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="feature_controls"):
        run = run_picker.pick_run(workspace)
        if run is not None:
            choices = features_view.controls(run)
    if run is None:
        empty.no_runs()
    else:
        with beside:
            empty.link("run", "Run", experiment=run.config.get("experiment"), run=run.id)
            empty.link("pairs", "Pairs", experiment=run.config.get("experiment"), run=run.id)
        features_view.show(workspace, run, choices)
