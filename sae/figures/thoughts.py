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
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """`value` by layer (upwards) and step: the mean of a slice's runs in colour and in figures.

    Slices of `constant` are hatched and named, their value written small; they take no part in the colours. A slice
    without a run is hatched alone.

    Args:
        table: a line a run: `layer`, `position` (the step), `value`; and where known `run` and `state`.
        layers, steps: what the axes show; by step what its tick says: its name, `<br>`, its position.
        home: (layer, step) of a slice to outline.
        notes: by (layer, step) what the hover says below the value.
        kind: "ev", "share", "count" or "number"; by default what the column's name says.
        color_range: values at the ends of the colours; by default those of the slices that vary.

    As in `grid_heat_map`, the last trace takes clicks; its customdata are [run, step, layer, all runs of the cell
    (comma between them), what the hover says, the step's name].
    """
    kind = metric_kind(value) if kind is None else kind
    odd = {(int(layer), int(step)) for layer, step in constant}
    drawn = table[["layer", "position", *(name for name in ("run", "state") if name in table)]].copy()
    places = list(zip(table["layer"].astype(int), table["position"].astype(int), strict=True))
    varies = np.array([place not in odd for place in places], bool)
    drawn[value] = table[value].to_numpy(float) if value in table else np.nan
    kept = drawn[value].where(varies)
    figure = grid_heat_map(
        drawn.assign(**{value: kept}), value, x="position", y="layer", title=title, kind=kind,
        x_values=list(steps), y_values=list(layers), color_range=color_range, theme=theme, height=height,
        selected=None if home is None else (home[1], home[0]),
    )  # fmt: skip
    marked = drawn[~varies].groupby(["layer", "position"])[value].mean()
    _mark(figure, marked, kind, sorted(steps), sorted(layers), theme)
    _say(figure, marked, kind, steps, notes or {})
    names = [str(step) for step in sorted(steps)]
    figure.update_xaxes(
        title_text=x_title, tickmode="array", tickvals=names, ticktext=[steps[step] for step in sorted(steps)]
    )
    figure.update_yaxes(title_text="Layer", range=[-0.5, len(set(layers)) - 0.5])
    return figure


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


def _say(figure: go.Figure, marked: pd.Series, kind: str, steps: Mapping[int, str], notes: Mapping[Place, str]) -> None:
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
        if note := notes.get(place):
            said = f"{said}<br>{note}"
        lines.append([run, step, layer, runs, said, steps[int(step)].replace("<br>", ", position ")])
    cells.customdata = lines
    cells.hovertemplate = "Layer %{y}, %{customdata[5]}<br>%{customdata[4]}<extra></extra>"
