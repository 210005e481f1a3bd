"""Which run a page is about: an experiment and one of its runs, or an SAE from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.common.errors import UserError
from sae.ui import address, pickers
from sae.ui.page import note

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder

ELSEWHERE = "-"  # no experiment can have this name


def pick_run(workspace: Workspace, finished: bool = True) -> RunFolder | None:
    """An experiment (or SAEs from elsewhere) and one of its runs; None if there is no run.

    Args:
        finished: only runs that have been measured; else also those whose training has begun.
    """
    trained = [experiment for experiment in workspace.experiments() if experiment.source is None]
    # One that only waits has nothing to show: it is not what a page opens with.
    names = [experiment.name for experiment in sorted(trained, key=lambda one: not one.begun)]
    alone = pickers.run_titles(workspace, None)
    options = [*names, *([ELSEWHERE] if alone else [])]
    asked = address.get("run")
    if options and asked and address.get("experiment") is None:
        _follow(workspace, asked, options)
    with st.container(width=150):
        chosen = pickers.pick_choice(
            "Experiment", options, name="experiment", carry=True, resets=("run", "feature", "a", "b"),
            format=lambda name: "SAEs from elsewhere" if name == ELSEWHERE else name,
        )  # fmt: skip
    if chosen is None:
        return None
    titles = alone if chosen == ELSEWHERE else pickers.run_titles(workspace, workspace.experiment(chosen))
    wanted = "metrics.json" if finished else "config.json"
    ids = [run for run in titles if (workspace.root / "runs" / run / wanted).exists()]
    if asked in titles and asked not in ids:
        note(f"Run {titles[asked]} is not {'finished' if finished else 'begun'} yet.")
    with st.container(width=215):
        run = pickers.pick_choice(
            "Run", ids, name="run", format=titles.__getitem__, carry=True, resets=("feature", "a", "b")
        )
    return None if run is None else workspace.run(run)


def _follow(workspace: Workspace, run: str, options: list[str]) -> None:
    """An address that names a run alone means the run's experiment too."""
    try:
        found = workspace.run(run)
        experiment = found.config.get("experiment") or ELSEWHERE
    except UserError:
        return
    if experiment in options:
        address.choose(experiment=experiment)
        if found.id != run:  # the beginning of an id was given
            address.choose(run=found.id)
