"""Ablations: what one part of a method buys, against a baseline, over seeds."""

from __future__ import annotations

import streamlit as st

from sae.ui import ablation_views, empty, page

beside = page.head("Ablations", "What does each part of a method buy, what does it cost, and do the seeds agree?")

with page.errors_shown("reading the experiment"):
    workspace = page.workspace()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="ablation_controls"):
        found = ablation_views.pick(workspace)
    if found is None:
        ablation_views.nothing(workspace)
    else:
        shown, view = found
        with beside:
            empty.link("train", "Watch or change", experiment=shown.experiment.name, show="watch")
            empty.link("grid", "Grid", experiment=shown.experiment.name)
        ablation_views.show(shown, view)
