"""What the Run page shows of one SAE: a file each view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.common.errors import UserError
from sae.ui import (
    autopsy_view,
    evaluations_view,
    export_view,
    page,
    run_activity,
    run_configuration,
    run_decoder,
    run_overview,
)
from sae.ui.thought_words import trained_on
from sae.ui.words import plain

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder


def show(view: str, run: RunFolder, split: str) -> None:
    """Draw one view of a finished run."""
    if view == "evaluations":
        evaluations_view.show(page.workspace(), run)
    elif view == "autopsy":
        autopsy_view.show(page.workspace(), run)
    elif view == "export":
        export_view.show(run)
    elif view == "activity":
        run_activity.activity(run, split)
    elif view == "geometry":
        run_decoder.geometry(run, split)
    elif view == "configuration":
        run_configuration.configuration(run)
    else:
        run_overview.overview(run, split)


def place(workspace: Workspace, run: RunFolder) -> None:
    """One line on the thought that a run was trained on; nothing for other activations."""
    data = run.config["data"]
    try:
        manifest = workspace.open_activations(data["activations"]).manifest
    except UserError:
        return  # an SAE outlives its activations
    if said := trained_on(manifest, data["layer"], data["position"]):
        st.caption(plain(said))
