"""Layers by steps of thinking: one cell a slice, slices that hardly vary marked and never the brightest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.figures.grid import grid_heat_map
from sae.figures.style import HEIGHT, ThemeName, metric_kind, number_text, theme_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Place = tuple[int, int]
MARK = "constant"
_WAITING = ("queued", "cancelled")
_STATES = ("running", "failed", *_WAITING)  # what a slice's runs are together: the first that one of them is


def layer_step_map(
    table: pd.DataFrame,
    value: str,
    *,
    layers: Sequence[int],
    steps: Mapping[int, str],
    constant: Collection[Place] = (),
    home: Place | None = None,
    notes: Mapping[Place, str] | None = None,
    title: str | None = None,
    x_title: str = "Step of thinking",
    kind: str | None = None,
    color_range: tuple[float, float] | None = None,
    seeds: bool = True,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """`value` by layer (upwards) and step: the mean of a slice's runs in colour and in figures.

    Slices of `constant` are hatched and named, their value written small; they take no part in the colours. A slice
    without a value is hatched alone: no run stands there, or none has been begun.

    Args:
        table: a line a run: `layer`, `position` (the step), `value`; and where known `run`, `state` and `progress`.
        layers, steps: what the axes show; by step what its tick says: its name, `<br>`, its position.
        home: (layer, step) of a slice to outline.
        notes: by (layer, step) what the hover says below the value.
        kind: "ev", "share", "count" or "number"; by default what the column's name says.
        color_range: values at the ends of the colours; by default those of the slices that vary.
        seeds: the runs of a slice differ in their seed alone, so that their spread is written below their mean;
            False: they are configurations, and how many are in the mean is said by the hover.

    As in `grid_heat_map`, the last trace takes clicks; its customdata are [run, step, layer, all runs of the cell
    (comma between them), what the hover says, the step's name].
    """
    kind = metric_kind(value) if kind is None else kind
    odd = {(int(layer), int(step)) for layer, step in constant}
    names = [name for name in ("run", "state", "progress") if name in table]
    drawn = table[["layer", "position", *names]].copy()
    drawn[value] = table[value].to_numpy(float) if value in table else np.nan
    said = dict(notes or {})
    if not seeds and len(drawn):
        drawn, counted = _together(drawn, value)
        said |= {place: "<br>".join(filter(None, (text, said.get(place)))) for place, text in counted.items()}
    places = list(zip(drawn["layer"].astype(int), drawn["position"].astype(int), strict=True))
    varies = np.array([place not in odd for place in places], bool)
    kept = drawn[value].where(varies)
    waiting: dict[Place, str] = {}
    if "state" in drawn:  # what waits is hatched as what is missing; a word in every cell would fill the map
        waiting = {place: state for place, state in zip(places, drawn["state"], strict=True) if state in _WAITING}
        drawn["state"] = drawn["state"].mask(drawn["state"].isin(_WAITING), "missing")
    figure = grid_heat_map(
        drawn.assign(**{value: kept}), value, x="position", y="layer", title=title, kind=kind,
        x_values=list(steps), y_values=list(layers), color_range=color_range, theme=theme, height=height,
        selected=None if home is None else (home[1], home[0]),
    )  # fmt: skip
    marked = drawn[~varies].groupby(["layer", "position"])[value].mean()
    _mark(figure, marked, kind, sorted(steps), sorted(layers), theme)
    _say(figure, marked, kind, steps, said, waiting)
    names = [str(step) for step in sorted(steps)]
    figure.update_xaxes(
        title_text=x_title, tickmode="array", tickvals=names, ticktext=[steps[step] for step in sorted(steps)]
    )
    figure.update_yaxes(title_text="Layer", range=[-0.5, len(set(layers)) - 0.5])
    return figure


def _together(table: pd.DataFrame, value: str) -> tuple[pd.DataFrame, dict[Place, str]]:
    """A line a slice instead of a line a run: the mean of those that have a value; and by slice how many that are."""
    import pandas as pd

    lines, counted = [], {}
    for (layer, step), here in table.groupby(["layer", "position"], sort=False):
        line: dict[str, Any] = {"layer": layer, "position": step, value: here[value].mean()}
        if "run" in here:
            line["run"] = ",".join(map(str, here["run"]))
        if "state" in here:
            line["state"] = next((state for state in _STATES if state in set(here["state"])), "done")
        if "progress" in here:
            line["progress"] = here["progress"].mean()
        lines.append(line)
        n = int(here[value].notna().sum())
        of = "" if n == len(here) else f" of {len(here)}"
        counted[int(layer), int(step)] = f"mean of {n}{of} SAEs" if n else ""
    return pd.DataFrame(lines), counted


def _mark(
    figure: go.Figure, marked: pd.Series, kind: str, steps: list[int], layers: list[int], theme: ThemeName
) -> None:
    """Words in the cells of slices that hardly vary; their hatching is there, since they have no value to colour."""
    t = theme_of(theme)
    for (layer, step), found in marked.items():
        text = MARK if not np.isfinite(found) else f"{MARK}<br><span style='font-size:9px'>{number_text(found, kind)}"
        figure.add_annotation(
            x=steps.index(int(step)), y=layers.index(int(layer)), text=text, showarrow=False, bgcolor=t.paper,
            borderpad=1, font={"size": 10, "color": t.muted},
        )  # fmt: skip


def _say(
    figure: go.Figure,
    marked: pd.Series,
    kind: str,
    steps: Mapping[int, str],
    notes: Mapping[Place, str],
    waiting: Mapping[Place, str],
) -> None:
    """What the hover says of a slice."""
    if not len(figure.data):
        return
    cells = figure.data[-1]
    lines: list[list[Any]] = []
    for run, step, layer, runs, said in cells.customdata:
        place = (int(layer), int(step))
        if place in marked.index:
            value = number_text(marked.loc[place], kind)
            said = f"near-constant slice: {value}, which says little"
        elif said == "no run":
            said = waiting.get(place, said)
        if note := notes.get(place):
            said = f"{said}<br>{note}"
        lines.append([run, step, layer, runs, said, steps[int(step)].replace("<br>", ", position ")])
    cells.customdata = lines
    cells.hovertemplate = "Layer %{y}, %{customdata[5]}<br>%{customdata[4]}<extra></extra>"
