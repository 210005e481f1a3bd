"""Grid: how quality, sparsity and feature death trade over an experiment's configurations."""

from __future__ import annotations

import streamlit as st

from sae.ui import empty, grid_views, page, pickers

VIEWS = {
    "heat-maps": "Heat maps",
    "difference": "Difference",
    "frontier": "Frontier",
    "configurations": "Configurations",
    "scaling": "Scaling",
    "runs": "Runs",
}

beside = page.head("Grid", "How do sparsity and dictionary size trade explained variance against dead features?")

with page.errors_shown("reading the experiment"):
    workspace = page.workspace()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="grid_controls"):
        experiment = pickers.pick_experiment(workspace)
        if experiment is not None:
            split = pickers.pick_split(grid_views.splits_of(experiment))
            chosen = grid_views.pick_factors(experiment)
            view = pickers.pick_choice(
                "View", list(VIEWS), name="view", default="heat-maps", format=VIEWS.__getitem__, look="buttons"
            )
    if experiment is None:
        empty.no_experiments()
    else:
        with beside:
            empty.link("train", "Watch or change", experiment=experiment.name, show="watch")
            empty.link("features", "Features", experiment=experiment.name)
        grid_views.show(view or "heat-maps", workspace, experiment, split or "all", chosen)
