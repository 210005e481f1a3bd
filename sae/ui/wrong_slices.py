"""Right or wrong: one pass at every slice, as a map and along the steps of a layer."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from sae.ui import address, empty, heat_map, page, wrong_data
from sae.ui.panel import figure_panel
from sae.ui.thought_data import constant_places
from sae.ui.thought_words import position_text, slice_text
from sae.ui.words import plain
from sae.ui.wrong_shown import CONVENTION, Shown, again


def show(shown: Shown) -> None:
    """The map of all slices beside the steps of this layer; where one slice was measured, the way to such a map."""
    table = wrong_data.over_slices(shown.experiment, shown.run)
    if len(table) < 2:
        for other in wrong_data.over_layers_and_steps(shown.workspace, shown.experiment):
            st.caption(f"{plain(other)} asks the same at other layers and steps of these activations.")
            empty.link("wrong", "AUROC over layers and steps", experiment=other)
        return
    names = {step: _step_name(shown, step) for step in sorted(table["position"].unique())}
    left, right = st.columns([1.2, 1], gap="medium")
    with left:
        _map(shown, table, names)
    with right:
        _steps(shown, table, names)


def _map(shown: Shown, table: pd.DataFrame, names: dict[int, str]) -> None:
    from sae.figures.thoughts import layer_step_map

    layers = sorted(table["layer"].unique())
    here = (int(shown.notes["layer"]), int(shown.notes["position"]))
    other = "K, dictionary size and recipe as in the run above"
    figure = layer_step_map(
        table, "auroc", layers=layers, steps=names, home=here, title="AUROC over layers and steps", kind="ev",
        constant=constant_places(table),
        x_title=f"Step of thinking, and its position ({CONVENTION})" if shown.thoughts else "Position",
        theme=page.theme(), height=min(max(120 + 30 * len(layers), 290), 470),
    )  # fmt: skip
    figure_panel(
        figure, table.drop(columns="state"), key="wrong_map", n=f"{shown.n} in each slice",
        meaning=f"One grouped pass a slice ({other}): to see where to look, not to compare. A click opens the slice. "
        + plain(wrong_data.constant_text(table, lambda layer, step: _place(shown, layer, step))),
        formula="One pass of 5 grouped folds a slice, the same folds everywhere, C from one inner split. Slices were "
        "not chosen beforehand and their intervals not adjusted: the brightest looks better than it is. The full "
        "protocol belongs to a slice that is named before this map is seen.",
        filename=f"{shown.experiment.name}-layers-auroc", on_select=_slice_clicked(),
        reproduce=again(shown, "experiment.results()"),
    )  # fmt: skip


def _steps(shown: Shown, table: pd.DataFrame, names: dict[int, str]) -> None:
    from sae.figures.error_prediction import by_step

    layer = int(shown.notes["layer"])
    lines, found = wrong_data.step_table(shown.experiment, table, layer)
    lines = lines.assign(step=[names[int(step)] for step in lines["position"]])
    text = {step: name.split("<br>")[0] for step, name in names.items()}
    figure = by_step(
        lines, list(names.values()), level=found.level, theme=page.theme(), height=320,
        detected=None if found.step is None else names[found.step],
    )  # fmt: skip
    figure_panel(
        figure, lines, key="wrong_steps", title=f"AUROC by step, layer {layer}", n=f"{shown.n} in each slice",
        meaning=plain(f"{wrong_data.detection_text(found, text, layer)} {_constant(shown, table, layer)}"),
        formula="One grouped pass a step. Intervals are taken at 1 − 0.05 / m for m steps (Bonferroni). A step tells "
        "more than the question where the interval of the paired difference of AUROCs lies above 0 and that "
        "of its own AUROC above 0.5. The bootstrap takes the probes as they were trained, so that a difference of "
        "noise passes somewhat more often than it says.",
        filename=f"{shown.experiment.name}-layer-{layer}-steps",
        reproduce=again(shown, f'experiment.part("{shown.run}", "draws")'),
    )  # fmt: skip


def _constant(shown: Shown, table: pd.DataFrame, layer: int) -> str:
    """The near-constant steps of one layer, in a sentence."""
    return wrong_data.constant_text(table[table["layer"] == layer], lambda layer, step: _place(shown, layer, step))


def _place(shown: Shown, layer: int, step: int) -> str:
    return slice_text(layer, step, CONVENTION) if shown.thoughts else f"layer {layer}, position {step}"


def _step_name(shown: Shown, step: int) -> str:
    from sae.capture.conventions import step_name

    return f"{step_name(step)}<br>{position_text(step, CONVENTION)}" if shown.thoughts else str(step)


def _slice_clicked() -> Any:
    return heat_map.when_clicked("wrong_map", lambda runs: address.choose(run=runs[0], drop=["feature"]))
