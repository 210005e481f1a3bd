"""Layers by steps of thinking: quality, death, activations and loss of an experiment's SAEs, slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sae.figures.style import metric_kind, metric_title, number_text
from sae.figures.thoughts import layer_step_map
from sae.ui import empty, grid_data, grid_views, heat_map, page, pickers, thought_data
from sae.ui.panel import figure_panel
from sae.ui.reproduce import Reproduce, experiment_command
from sae.ui.thoughts_view import Shown, place_text, step_names
from sae.ui.words import count, plain

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder

SMALL = 240  # px, for few layers
CROWDED = 8  # layers beyond which a small map has no room for figures in its cells
_OPEN = "thought_slice_open"


def show(shown: Shown) -> None:
    """One map large, what it says beside it; the other metrics below, and the chosen one for each K."""
    experiment = shown.experiment
    if experiment is None:
        return
    _go(shown, experiment)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=330):
            metric = pickers.pick_choice(
                "Metric", list(thought_data.METRICS), name="metric", default="ev_total", format=metric_title
            ) or "ev_total"  # fmt: skip
        split = pickers.pick_split(grid_views.splits_of(experiment)) or "all"
    every = thought_data.runs_by_slice(experiment, split)
    here = grid_data.matching(every, shown.choices)
    if (here["state"] != "done").any():
        _progress(every)
    left, right = st.columns([1.9, 1], gap="medium")
    with left:
        _map(shown, experiment, here, metric, split, small=False)
    with right:
        _said(shown, here, metric)
    others = [name for name in thought_data.METRICS if name != metric]
    for start in range(0, len(others), 3):
        for column, name in zip(st.columns(3, gap="medium"), others[start : start + 3], strict=False):
            with column:
                _map(shown, experiment, here, name, split)
    _by_k(shown, experiment, every, metric, split)


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
    figure = layer_step_map(
        table, metric, layers=shown.layers, steps=step_names(shown), constant=thought_data.constant_places(table),
        x_title=f"Step of thinking, and its position ({shown.convention})" if shown.at_home else "Position",
        color_range=color_range, theme=page.theme(), height=_height(shown, small),
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
    numbers = [name for name in ("run", "state", *experiment.factors) if name in table]
    places = [name for name in ("layer", "position") if name not in numbers]
    listed = table.assign(**({} if metric in table else {metric: np.nan}))[[*places, *numbers, metric, "near_constant"]]
    meaning, formula = grid_data.METRICS[metric]
    seeds = "" if len(experiment.factors.get("seed", ())) < 2 else "\n\nA cell holds the mean over seeds."
    figure_panel(
        heat_map.as_svg(figure), listed, key=key,
        title=title or (grid_data.short_title(metric) if small else metric_title(metric)),
        meaning="" if small else f"{meaning} A click opens the slice.", n=None if small else _n(experiment, split),
        formula=(f"{meaning}\n\n{formula}" if small else formula) + seeds,
        filename=f"{experiment.name}-layers-{metric}-{split}",
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


def _said(shown: Shown, table: pd.DataFrame, metric: str) -> None:
    """What the map says in words: the best slice, and those that say nothing."""
    kind = metric_kind(metric)
    best = thought_data.best_slice(table, metric)
    with st.container(border=True, gap="xsmall", key="thought_said"):
        if best is not None:
            layer, step, value = best
            word = "Highest" if thought_data.METRICS[metric] == "high" else "Lowest"
            st.markdown(f"**{word}: {number_text(value, kind)}** at {plain(place_text(shown, layer, step))}.")
            if shown.experiment is not None:
                empty.link("thoughts", "One problem there", view="problem", experiment=shown.experiment.name,
                           layer=layer, **{k: v for k, v in shown.choices.items() if v is not None})  # fmt: skip
        elif metric in table and table[metric].notna().any():
            st.markdown("On this metric neither high nor low is better.")
        else:
            st.markdown("No finished run of this configuration yet.")
        odd = sorted(thought_data.constant_places(table))
        if odd:
            listed = "; ".join(place_text(shown, layer, step) for layer, step in odd[:6])
            more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
            st.markdown(
                f"**Near-constant:** {plain(listed + more)}. The rows there hardly differ from their mean (spread "
                "below 1 % of the mean's length), so a number there says little, however good. Such slices are hatched "
                "and take no part in the colours or in what is highest."
            )
        else:
            st.caption("No slice is near-constant: rows differ from their mean everywhere.")
        if {"layer", "position"} - set(shown.experiment.factors if shown.experiment else {}):
            st.caption("This experiment has one slice. A sweep over layers and positions fills the map.")
            empty.link("train", "Train a sweep", show="new", activations=shown.activations.name)


def _by_k(shown: Shown, experiment: ExperimentFolder, every: pd.DataFrame, metric: str, split: str) -> None:
    """The chosen metric for each K, on one scale."""
    ks = experiment.factors.get("k", [])
    if len(ks) < 2 or metric not in every:
        return
    rest = {name: value for name, value in shown.choices.items() if name != "k"}
    lines = grid_data.matching(every, rest)
    values = lines[~lines["near_constant"]].groupby(["layer", "position", "k"])[metric].mean().dropna()
    if values.empty:
        return
    st.markdown(f"**{plain(metric_title(metric))} by K, on one scale**")
    span = (float(values.min()), float(values.max()))
    for start in range(0, len(ks), 3):
        for column, k in zip(st.columns(3, gap="medium"), ks[start : start + 3], strict=False):
            with column:
                part = lines[lines["k"] == k].reset_index(drop=True)
                _map(
                    shown, experiment, part, metric, split, key=f"thought_by_k_{k}", title=f"K {k}",
                    choices={**rest, "k": k}, color_range=span,
                )  # fmt: skip


def _reproduce(experiment: ExperimentFolder, metric: str, split: str, choices: dict[str, Any]) -> Reproduce:
    command = f"{experiment_command(experiment.spec)}\npython -m sae experiment show {experiment.name} --json"
    python = (
        "from sae.figures.thoughts import layer_step_map\nfrom sae.ui.grid_data import matching\n"
        "from sae.ui.thought_data import constant_places, runs_by_slice\nfrom sae.workspace import Workspace\n\n"
        f'table = matching(runs_by_slice(Workspace.at().experiment("{experiment.name}"), "{split}"), {choices!r})\n'
        'steps = {step: str(step) for step in sorted(set(table["position"]))}\n'
        f'layer_step_map(table, "{metric}", layers=sorted(set(table["layer"])), steps=steps, '
        "constant=constant_places(table)).show()"
    )
    return Reproduce(command, python, thought_data.hashes(experiment))
