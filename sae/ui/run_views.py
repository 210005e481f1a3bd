"""What the Run page shows of one SAE: a file each view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.capture.run_rows import place_words
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
    """What a transcoder reads and writes, and one line on the thought that a run was trained on, if it is one."""
    data = run.config["data"]
    if layers := data.get("layers"):
        named = place_words(data)
        st.caption(
            f"A crosscoder: it reads and reconstructs {', '.join(named)} at once. Explained variance counts each layer "
            "by its spread; training counts all alike."
            if len(layers) > 1
            else f"A crosscoder of {', '.join(named)} alone, which is a TopK."
        )
    if target := data.get("target"):
        read, written = (", ".join(place_words(one)) for one in (data, target))
        st.caption(
            f"A transcoder: it reads {read} and writes {written}. Explained variance and errors are of what it writes."
        )
    try:
        manifest = workspace.open_activations(data["activations"]).manifest
    except UserError:
        return  # an SAE outlives its activations
    if said := trained_on(manifest, data["layer"], data["position"]):
        st.caption(plain(said))
