"""What is said above the Grid page's figures: how far training is, where the rows come from, what makes them poor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.capture.run_rows import place_words
from sae.ui.thought_words import trained_on
from sae.ui.words import count, plain, share

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder


def place(workspace: Workspace, experiment: ExperimentFolder, chosen: Mapping[str, Any]) -> None:
    """One line on the thought that the SAEs were trained on; nothing for other activations."""
    place = [chosen.get(name, experiment.spec.get(name)) for name in ("layer", "position")]
    manifest = workspace.open_activations(experiment.activations).manifest
    if said := trained_on(manifest, *place):
        st.caption(plain(said))


def hardly_varying(workspace: Workspace, table: pd.DataFrame) -> None:
    """Says so where the rows of a slice are nearly one vector: explained variance then looks good for nothing."""
    done = table[table["state"] == "done"]
    if done.empty:
        return
    run = workspace.run(done["run"].iloc[0])
    facts = run.results.get("slice") or {}
    if facts.get("near_constant"):
        where = place_words(run.config["data"])
        ratio = facts["centred_norm"] / facts["mean_norm"] if facts["mean_norm"] else 0.0
        st.warning(
            f"Near-constant slice: the rows of {', '.join(where) or 'these activations'} are almost one vector (their "
            f"spread is {share(ratio)} of their mean's norm). Explained variance says little here, however high it is."
        )


def progress_line(table: pd.DataFrame) -> None:
    """How many runs are in which state."""
    states = table["state"].value_counts()
    order = ("done", "running", "queued", "failed", "cancelled")
    words = [f"{states[state]} {state}" for state in order if state in states]
    st.caption(f"{count(len(table))} runs: {', '.join(words)}.")
