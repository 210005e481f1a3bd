"""Thoughts: layers by steps of thinking, one problem's thoughts, one feature over them, and a problem of one's own."""

from __future__ import annotations

import streamlit as st

from sae.ui import empty, page, thought_maps, thought_paste, thought_problem, thought_strip, thoughts_view

beside = page.head("Thoughts", "What does the model think between a question and its answer, and which features fire?")

with page.errors_shown("reading the thoughts"):
    workspace = page.workspace()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="thought_controls"):
        found = thoughts_view.pick(workspace)
    if found is None:
        thoughts_view.nothing()
    else:
        shown, view = found
        with beside:
            empty.link("data", "Activations", activations=shown.activations.name)
            if shown.experiment is not None:
                empty.link("grid", "Grid", experiment=shown.experiment.name)
        draw = {
            "maps": thought_maps.show,
            "problem": thought_problem.show,
            "feature": thought_strip.show,
            "paste": thought_paste.show,
        }
        thoughts_view.notes(shown)
        draw[view](shown)
