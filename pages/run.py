"""Run: one trained SAE."""

from __future__ import annotations

import streamlit as st

from sae.ui import empty, page, pickers, run_picker, run_unfinished, run_views

VIEWS = {
    "overview": "Overview",
    "activity": "Activity",
    "geometry": "Decoder",
    "autopsy": "Dead features",
    "evaluations": "Evaluations",
    "configuration": "Configuration",
    "export": "Export",
}

beside = page.head("Run", "What did this sparse autoencoder learn, how well, and on which rows?")

with page.errors_shown("reading the run"):
    workspace = page.workspace()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="run_controls"):
        run = run_picker.pick_run(workspace, finished=False)
        split = None
        if run is not None and run.done:
            split = pickers.pick_split(run.metrics)
            view = pickers.pick_choice(
                "View", list(VIEWS), name="view", default="overview", format=VIEWS.__getitem__, look="buttons"
            )
    if run is None:
        empty.no_runs()
    elif not run.done:
        run_unfinished.unfinished(workspace, run)
    else:
        with beside:
            empty.link("features", "Features", experiment=run.config.get("experiment"), run=run.id)
            empty.link("pairs", "Pairs", experiment=run.config.get("experiment"), run=run.id)
            empty.link("compare", "Compare with...", runs=run.id)
            if run.config.get("experiment"):
                empty.link("grid", "Grid", experiment=run.config["experiment"])
        run_views.place(workspace, run)
        run_views.show(view or "overview", run, split or "all")
