"""The Ablations page: what it is about, and one view of it, drawn again while the experiment trains."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import streamlit as st

from sae.experiments import KINDS
from sae.figures.style import metric_title
from sae.ui import ablation_codes, ablation_verdict, empty, grid_notes, grid_views, page, pickers
from sae.ui.ablation_data import COSTS, Shown, about, compared, others
from sae.ui.grid_data import runs_with_metrics, short_title
from sae.ui.words import plain

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace

VIEWS = {
    "verdict": "Verdict",
    "trade-off": "Trade-off",
    "table": "Table",
    "training": "Training",
    "codes": "Codes",
}
ALL = "all"
EVERY = 2.0  # s between looks at an experiment that trains


def pick(workspace: Workspace) -> tuple[Shown, str] | None:
    """Draw the row of controls; None where there is no such experiment."""
    with st.container(width=140):
        experiment = pickers.pick_experiment(workspace, about)
    kind = None if experiment is None else experiment.trains
    if experiment is None or kind is None:
        return None
    view = pickers.pick_choice("View", list(VIEWS), name="view", default="verdict", format=VIEWS.__getitem__,
                               look="buttons") or "verdict"  # fmt: skip
    split = pickers.pick_split(grid_views.splits_of(experiment))
    metric: str | None = kind.metrics[0]
    if view in ("verdict", "trade-off"):
        with st.container(width=200):
            known = compared(kind, runs_with_metrics(experiment, split or "all"))
            offered = list(dict.fromkeys((*kind.metrics, *known)))
            metric = pickers.pick_choice("Metric", offered, name="metric", default=kind.metrics[0],
                                         format=metric_title)  # fmt: skip
    cost = None
    if view == "trade-off":
        with st.container(width=200):
            cost = pickers.pick_choice("Over", list(COSTS), name="cost", default=COSTS[0], format=short_title)
    choices = {}
    for name in others(kind, experiment) if kind.baseline or view in ("training", "codes") else []:
        values = experiment.factors[name]
        title = {"k": "K", "d_sae": "N"}.get(name, name.replace("_", " "))
        with st.container(width=95):
            found = pickers.pick_choice(title, [ALL, *values], name=name, default=ALL)
        choices[name] = None if found in (ALL, None) else found
    return Shown(workspace, experiment, split or "all", metric or kind.metrics[0], choices, cost or COSTS[0]), view


def nothing(workspace: Workspace) -> None:
    """Why there is nothing to see yet, and what starts it."""
    ablations = {name: kind for name, kind in KINDS.items() if kind.ablates}
    first = next(name for name, kind in ablations.items() if kind.baseline)
    titles = "; ".join(kind.title for kind in ablations.values())
    empty.empty(
        "No ablation yet",
        f"An ablation trains SAEs with one part changed at a time, over several seeds: {plain(titles)}.",
        {"Train one": ("train", {"show": "new", "kind": first, "seeds": "3"})},
    )
    here = workspace.activations()
    words = ["python", "-m", "sae", "experiment", "run", first]
    if here:
        activations = workspace.open_activations(here[0]["name"])
        words += ["--activations", activations.name]
        slices = activations.slices
        if len(slices) > 1:
            for name in ("layer", "position"):
                value = getattr(slices[-1], name)
                words += [f"--{name}", str(value)] if value is not None else []
    else:
        words += ["--activations", "NAME"]
    st.code(shlex.join([*words, "--name", "ablation", "--seeds", "3"]), language=None, wrap_lines=True)


def show(shown: Shown, view: str) -> None:
    """Draw one view; while the experiment trains, it is drawn again every two seconds."""
    jobs, name = shown.workspace.jobs, shown.experiment.name
    job = jobs.latest(name)
    busy = job is not None and job.active
    views = {
        "verdict": ablation_verdict.verdict,
        "trade-off": ablation_verdict.trade_off,
        "table": ablation_verdict.table,
        "training": ablation_codes.training,
        "codes": ablation_codes.codes,
    }

    @st.fragment(run_every=EVERY if busy else None)
    def live() -> None:
        with page.errors_shown("drawing the ablation"):
            now = jobs.latest(name)
            if busy and (now is None or not now.active):
                st.rerun()
            table = shown.runs()
            st.markdown(f"**{plain(shown.kind.title)}.** {plain(shown.kind.question)}")
            if not (table["state"] == "done").all():
                grid_notes.progress_line(table)
                _failed(table)
            views[view](shown, table)

    live()
    if shown.kind.known:
        st.caption(plain(shown.kind.known))


def _failed(table: pd.DataFrame) -> None:
    errors = table["error"].dropna()
    if len(errors):
        page.show_error(f"{len(errors)} failed; the first: {errors.iloc[0]}")
