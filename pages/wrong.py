"""Right or wrong: which features go with wrong answers, and whether they tell more than simpler predictors."""

from __future__ import annotations

import streamlit as st

from sae.ui import empty, page, wrong_view

beside = page.head(
    "Right or wrong", "Do features tell beforehand that an answer will be wrong, and more than simpler predictors?"
)

with page.errors_shown("reading what was predicted"):
    workspace = page.workspace()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="wrong_controls"):
        shown = wrong_view.pick(workspace)
    if shown is None:
        wrong_view.nothing(workspace)
    else:
        with beside:
            empty.link("run", "Run", experiment=shown.source, run=shown.run)
            empty.link("features", "Features", experiment=shown.source, run=shown.run)
        wrong_view.show(shown)
