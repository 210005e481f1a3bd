"""Pairs: which features of a run fire together, and which keep apart."""

from __future__ import annotations

import streamlit as st

from sae.ui import empty, page, pairs_view, run_picker

beside = page.head("Pairs", "Which features fire together, which keep apart, and on which problems?")

with page.errors_shown("reading the run"):
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="pair_controls"):
        run = run_picker.pick_run(page.workspace())
        if run is not None:
            choices = pairs_view.controls()
    if run is None:
        empty.no_runs()
    else:
        with beside:
            empty.link("run", "Run", experiment=run.config.get("experiment"), run=run.id)
            empty.link("features", "Features", experiment=run.config.get("experiment"), run=run.id)
        pairs_view.show(run, choices)
