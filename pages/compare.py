"""Compare: two to four runs, their numbers and their features."""

from __future__ import annotations

import streamlit as st

from sae.ui import compare_differences, compare_family, compare_features, compare_runs, empty, page, pickers

VIEWS = {"differences": "Differences", "features": "Matched features", "family": "Family tree"}

beside = page.head(
    "Compare", "What do these SAEs have in common, in what do they differ, and is a feature found again?"
)

with page.errors_shown("reading the runs"):
    workspace = page.workspace()
    runs = compare_runs.pick(workspace)
    if not compare_runs.titles(workspace):
        empty.no_runs()
    elif not runs:
        st.info("Choose two to four runs above.")
    elif len(runs) == 1:
        compare_runs.offer(workspace, runs[0])
    else:
        with beside:
            for name, run in zip(compare_runs.names(runs), runs, strict=True):
                empty.link("run", name, experiment=run.config.get("experiment"), run=run.id)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="compare_controls"):
            view = pickers.pick_choice(
                "View", list(VIEWS), name="view", default="differences", format=VIEWS.__getitem__, look="buttons"
            )
            if view == "features":
                how = compare_features.controls(runs)
            elif view == "family":
                threshold = compare_family.controls()
            else:
                choices = compare_differences.controls(runs)
        if view == "features":
            compare_features.show(runs, how)
        elif view == "family":
            compare_family.show(runs, threshold)
        else:
            compare_differences.show(runs, choices)
