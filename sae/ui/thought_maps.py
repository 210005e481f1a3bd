"""Layers by steps of thinking: quality, death, activations and loss of an experiment's SAEs, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from sae.capture.statistics import NEAR_CONSTANT
from sae.figures.style import metric_kind, metric_title, number_text
from sae.figures.thoughts import layer_step_map
from sae.ui import empty, grid_data, grid_views, heat_map, page, pickers, thought_data, thought_patched
from sae.ui.panel import figure_panel
from sae.ui.reproduce import Reproduce, experiment_command, measurement_command
from sae.ui.thoughts_view import Shown, place_text, step_names
from sae.ui.words import count, plain

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder

EVERY = 5.0  # s between looks at a sweep that trains; nine figures are a second's work, which training needs too
SMALL = 240  # px, for few layers
CROWDED = 8  # layers beyond which a small map has no room for figures in its cells
_OPEN = "thought_slice_open"


def show(shown: Shown) -> None:
    """One map large, what it says beside it; the other metrics below, and the chosen one for each K.

    While the experiment trains, or is patched, all of it is drawn again every few seconds.
    """
    experiment = shown.experiment
    if experiment is None:
        return
    patchings = thought_patched.measurements(shown.workspace, experiment.name)
    names = {experiment.name, *(one.name for one in patchings)}

    def busy() -> bool:
        return any(job.name in names for job in shown.workspace.jobs.active())

    began_busy = busy()

    @st.fragment(run_every=EVERY if began_busy else None)
    def live() -> None:
        with page.errors_shown("drawing the maps"):
            if began_busy and not busy():
                st.rerun()
            _draw(shown, experiment, patchings)

    live()


def _draw(shown: Shown, experiment: ExperimentFolder, patchings: list[ExperimentFolder]) -> None:
    _go(shown, experiment)
    patched = thought_patched.begun(patchings)
    offered = [name for name in thought_data.METRICS if patched or name not in thought_data.PATCHED]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=330):
            metric = pickers.pick_choice(
                "Metric", offered, name="metric", default="ev_total", format=metric_title
            ) or "ev_total"  # fmt: skip
        split = pickers.pick_split(grid_views.splits_of(experiment)) or "all"
    every = thought_patched.joined(thought_data.runs_by_slice(experiment, split), patchings)
    here = grid_data.matching(every, shown.choices)
    if (every["state"] != "done").any():
        _progress(every)
    left, right = st.columns([1.9, 1], gap="medium")
    with left:
        _map(shown, experiment, here, metric, split, small=False)
    with right:
        _said(shown, experiment, here, metric, patchings)
    rest = [name for name in offered if name != metric and (name != "accuracy_mean" or metric == "accuracy_patched")]
    if metric == "accuracy_patched":  # beside what it has to be judged against
        rest = ["accuracy_mean", *(name for name in rest if name != "accuracy_mean")]
    _rows([partial(_map, shown, experiment, here, name, split) for name in rest[:6]])
    _by_k(shown, experiment, every, metric, split)


def _rows(maps: list[Callable[[], None]]) -> None:
    """Small maps, three in a line; two where that leaves none alone."""
    across = 2 if len(maps) in (2, 4) else 3
    for start in range(0, len(maps), across):
        for column, draw in zip(st.columns(across, gap="medium"), maps[start : start + across], strict=False):
            with column:
                draw()


def _height(shown: Shown, small: bool) -> int:
    layers = len(shown.layers)
    return min(max(90 + 18 * layers, SMALL), 420) if small else min(max(110 + 26 * layers, 290), 470)


def _progress(table: pd.DataFrame) -> None:
    states = table["state"].value_counts()
    words = [f"{states[state]} {state}" for state in ("done", "running", "queued", "failed", "cancelled")
             if state in states]  # fmt: skip
    st.caption(f"{count(len(table))} runs: {', '.join(words)}.")


def _map(
    shown: Shown,
    experiment: ExperimentFolder,
    table: pd.DataFrame,
    metric: str,
    split: str,
    *,
    small: bool = True,
    key: str | None = None,
    title: str | None = None,
    choices: dict[str, Any] | None = None,
    color_range: tuple[float, float] | None = None,
) -> None:
    choices = shown.choices if choices is None else choices
    one = thought_data.one_configuration(experiment, choices)
    facts = thought_patched.facts(table, metric) if metric in thought_data.PATCHED else None
    if facts is not None:
        color_range = facts.color_range
    figure = layer_step_map(
        table, metric, layers=shown.layers, steps=step_names(shown), constant=thought_data.constant_places(table),
        x_title=f"Step of thinking, and its position ({shown.convention})" if shown.at_home else "Position",
        color_range=color_range, seeds=one, notes=None if facts is None else facts.notes, theme=page.theme(),
        height=_height(shown, small),
    )  # fmt: skip
    key = key or f"thought_map_{metric}"
    if small:
        figure.update_layout(margin={"l": 40, "r": 10, "b": 50})
        figure.update_xaxes(title_text=None)
        figure.update_yaxes(title_text=None)
        figure.update_annotations(font_size=9)
        if len(shown.layers) > CROWDED:
            figure.layout.annotations = ()
        figure.data[0].showscale = False
    listed = thought_data.listed(experiment, table, metric)
    meaning, formula = grid_data.METRICS[metric] if facts is None else (facts.meaning, facts.formula)
    formula += thought_data.mean_text(experiment, choices)
    n = _n(experiment, split) if facts is None else facts.n
    figure_panel(
        figure, listed, key=key,
        title=title or (grid_data.short_title(metric) if small else metric_title(metric)),
        meaning="" if small else f"{meaning} A click opens the slice.", n=n,
        formula=f"{meaning}\n\n{formula}" if small else formula,
        filename=f"{experiment.name}-layers-{metric}" + (f"-{split}" if facts is None else ""),
        columns=grid_data.metric_columns(listed, ["k", "d_sae"]),
        reproduce=_reproduce(experiment, metric, split, choices), on_select=_when_clicked(key),
    )  # fmt: skip


def _n(experiment: ExperimentFolder, split: str) -> str | None:
    rows = thought_data.rows_of(experiment)
    if not rows:
        return None
    n = sum(rows.values()) if split == "all" else rows.get(split, 0)
    return f"{n:,} {'' if split == 'all' else split + ' '}rows a slice"


def _when_clicked(key: str) -> Any:
    def selected() -> None:
        data = heat_map.clicked(key)
        if isinstance(data, list) and len(data) >= 4 and data[3]:
            st.session_state[_OPEN] = (int(data[2]), int(data[1]), str(data[3]).split(","))

    return selected


def _go(shown: Shown, experiment: ExperimentFolder) -> None:
    """Follow a click: to the grid of the slice, or to its run if that is the only one there."""
    opened = st.session_state.pop(_OPEN, None)
    if opened is None:
        return
    layer, step, runs = opened
    on_slice = shown.runs[(shown.runs["layer"] == layer) & (shown.runs["position"] == step)]
    if len(on_slice) == 1:
        st.switch_page("pages/run.py", query_params={"experiment": experiment.name, "run": runs[0]})
    query = {"experiment": experiment.name}
    if {"layer", "position"} <= set(experiment.factors):
        query |= {"layer": str(layer), "position": str(step)}
    st.switch_page("pages/grid.py", query_params=query)


def _said(
    shown: Shown, experiment: ExperimentFolder, table: pd.DataFrame, metric: str, patchings: list[ExperimentFolder]
) -> None:
    """What the map says in words: the best slice, those that say nothing, and what else could be asked."""
    with st.container(border=True, gap="xsmall", key="thought_said"):
        if metric in thought_data.PATCHED:
            for line in thought_patched.said(table, lambda layer, step: place_text(shown, layer, step)):
                st.markdown(line)
        else:
            _best(shown, experiment, table, metric)
        odd = sorted(thought_data.constant_places(table))
        if odd:
            listed = "; ".join(place_text(shown, layer, step) for layer, step in odd[:6])
            more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
            st.markdown(
                f"**Near-constant:** {plain(listed + more)}. The rows there hardly differ from their mean (spread "
                f"below {100 * NEAR_CONSTANT:g} % of the mean's length), so a number there says little, however good. "
                "Such slices are hatched and take no part in the colours or in what is highest."
            )
        elif (table["state"] == "done").any():
            st.caption("No slice is near-constant: rows differ from their mean everywhere.")
        if {"layer", "position"} - set(experiment.factors):
            st.caption("This experiment has one slice. A sweep over layers and positions fills the map.")
            empty.link("train", "Train a sweep", show="new", activations=shown.activations.name)
        elif shown.at_home and not patchings and (table["state"] == "done").any():
            st.caption(
                "Patching says whether the model still answers right when a reconstruction takes a state's place."
            )
            empty.link("train", "Patch these SAEs", show="new", kind=thought_patched.KIND, experiment=experiment.name)


def _best(shown: Shown, experiment: ExperimentFolder, table: pd.DataFrame, metric: str) -> None:
    best = thought_data.best_slice(table, metric)
    if best is not None:
        layer, step, value = best
        word = "Highest" if thought_data.METRICS[metric] == "high" else "Lowest"
        place = plain(place_text(shown, layer, step))
        st.markdown(f"**{word}: {number_text(value, metric_kind(metric))}** at {place}.")
        empty.link("thoughts", "One problem there", view="problem", experiment=experiment.name,
                   layer=layer, **{k: v for k, v in shown.choices.items() if v is not None})  # fmt: skip
    elif metric in table and table[metric].notna().any():
        st.markdown("On this metric neither high nor low is better.")
    else:
        st.markdown("No finished run of this configuration yet.")


def _by_k(shown: Shown, experiment: ExperimentFolder, every: pd.DataFrame, metric: str, split: str) -> None:
    """The chosen metric for each K, on one scale."""
    ks = experiment.factors.get("k", [])
    if len(ks) < 2 or metric not in every or metric == "accuracy_mean":  # the mean knows no K
        return
    rest = {name: value for name, value in shown.choices.items() if name != "k"}
    lines = grid_data.matching(every, rest)
    values = lines[~lines["near_constant"]].groupby(["layer", "position", "k"])[metric].mean().dropna()
    if values.empty:
        return
    st.markdown(f"**{plain(metric_title(metric))} by K, on one scale**")
    span = (float(values.min()), float(values.max()))

    def draw(k: int) -> None:
        part = lines[lines["k"] == k].reset_index(drop=True)
        _map(
            shown, experiment, part, metric, split, key=f"thought_by_k_{k}", title=f"K {k}", choices={**rest, "k": k},
            color_range=span,
        )  # fmt: skip

    _rows([partial(draw, k) for k in ks])


def _reproduce(experiment: ExperimentFolder, metric: str, split: str, choices: dict[str, Any]) -> Reproduce:
    command = f"{experiment_command(experiment.spec)}\npython -m sae experiment show {experiment.name} --json"
    table = f'runs_by_slice(experiment, "{split}")'
    more = ""
    if metric in thought_data.PATCHED:
        found = thought_patched.measurements(experiment.workspace, experiment.name)
        command = "\n".join([experiment_command(experiment.spec), *(measurement_command(one.spec) for one in found)])
        table = f"joined({table}, measurements(workspace, experiment.name))"
        more = "from sae.ui.thought_patched import joined, measurements\n"
    python = (
        "from sae.figures.thoughts import layer_step_map\nfrom sae.ui.grid_data import matching\n"
        f"from sae.ui.thought_data import constant_places, runs_by_slice\n{more}from sae.workspace import Workspace\n\n"
        f'workspace = Workspace.at()\nexperiment = workspace.experiment("{experiment.name}")\n'
        f"table = matching({table}, {choices!r})\n"
        'steps = {step: str(step) for step in sorted(set(table["position"]))}\n'
        f'layer_step_map(table, "{metric}", layers=sorted(set(table["layer"])), steps=steps, '
        f"constant=constant_places(table), seeds={thought_data.one_configuration(experiment, choices)}).show()"
    )
    return Reproduce(command, python, thought_data.hashes(experiment))
