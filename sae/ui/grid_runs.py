"""The Grid page's list of runs, with their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import empty, grid_data, link, pickers
from sae.ui.panel import toolbar
from sae.ui.reproduce import Reproduce
from sae.ui.tables import as_shown

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder


def show(
    workspace: Workspace, experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]
) -> None:
    """Every run with its metrics; a row opens it."""
    order = ["run", *experiment.factors, "state", *[m for m in grid_data.METRICS if m in table], "seconds", "error"]
    lines = table[[name for name in order if name in table]]

    def open_row() -> None:
        cells = st.session_state["grid_runs"]["selection"]["cells"]
        if cells:
            st.session_state["grid_open"] = lines["run"].iloc[cells[0][0]]

    done = lines.loc[lines["state"] == "done", "run"].tolist()
    if len(done) > 1:
        titles = pickers.run_titles(workspace, experiment)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            with_one = pickers.pick_many(
                "Compare with...", done, name="compare", format=titles.__getitem__, placeholder="Two to four runs"
            )
            if with_one:
                empty.link("compare", "Compare", runs=with_one[:4])
    with link.panel("grid_runs"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.caption("A click on a line opens the run.", width="stretch")
            toolbar(
                None, lines, key="grid_runs_tools", title=f"Runs of {experiment.name}, {split}",
                filename=f"{experiment.name}-runs-{split}", reproduce=_reproduce(experiment, split),
            )  # fmt: skip
        shown, config = as_shown(lines, grid_data.metric_columns(lines, ["k", "d_sae"]))
        st.dataframe(
            shown, hide_index=True, key="grid_runs", on_select=open_row, selection_mode="single-cell", height=480,
            column_config=config, alt=f"Runs of {experiment.name}",
        )  # fmt: skip
    opened = st.session_state.pop("grid_open", None)
    if opened is not None:
        st.switch_page("pages/run.py", query_params={"experiment": experiment.name, "run": opened})


def _reproduce(experiment: ExperimentFolder, split: str) -> Reproduce:
    from sae.ui.grid_views import hashes  # which draws this list

    python = (
        "from sae.ui.grid_data import runs_with_metrics\nfrom sae.workspace import Workspace\n\n"
        f'runs_with_metrics(Workspace.at().experiment("{experiment.name}"), "{split}")'
    )
    return Reproduce(f"python -m sae experiment show {experiment.name} --json", python, hashes(experiment))
