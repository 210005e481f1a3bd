"""A grid of runs as a heat map: one cell a configuration, its value written in it, a click opens the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import (
    CIVIDIS,
    HEIGHT,
    ThemeName,
    color_at,
    colorbar,
    colorscale,
    empty_note,
    metric_kind,
    metric_title,
    new_figure,
    number_text,
    text_on,
    theme_of,
)

if TYPE_CHECKING:
    import pandas as pd

_HATCH_LINES = 7


@dataclass
class _Cell:
    """The runs of one configuration. `value` is their mean, `sd` over runs (NaN with one)."""

    value: float = np.nan
    sd: float = np.nan
    n: int = 0
    runs: list[str] = field(default_factory=list)
    state: str = "missing"
    progress: float = np.nan
    note: str = ""


def grid_heat_map(
    table: pd.DataFrame,
    value: str,
    *,
    x: str = "d_sae",
    y: str = "k",
    title: str | None = None,
    subtitle: str = "",
    kind: str | None = None,
    x_values: Sequence[Any] = (),
    y_values: Sequence[Any] = (),
    selected: tuple[Any, Any] | None = None,
    color_range: tuple[float, float] | None = None,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """`value` over two factors: the mean of a cell's runs in colour and in figures, its spread below it.

    A cell without a value is not coloured: hatched where no run exists, with its state's word where one is
    queued, running, failed or cancelled.

    Args:
        table: one line a run: `x`, `y`, `value`; and where known `run` (its id), `state`, `progress` (0 to
            1).
        kind: "ev", "share", "count" or "number"; by default what the column's name says.
        x_values, y_values: values that the axes show even if no run has them.
        selected: (x, y) of the cell to outline.
        color_range: values at the ends of the colours, to compare two figures; by default the data's.

    The last trace is a nearly transparent square over each cell, so that a click selects it: its customdata
    are [run, x, y, all runs of the cell (comma between them), what the hover says], run "" where there is
    none.
    """
    title = metric_title(value) if title is None else title
    kind = metric_kind(value) if kind is None else kind
    xs, ys = _axis(table, x, x_values), _axis(table, y, y_values)
    cells = {(a, b): _Cell() for a in xs for b in ys}
    if len(table):
        for (a, b), lines in table.groupby([x, y], sort=False):
            cells[(_plain(a), _plain(b))] = _cell(lines, value)
    figure = new_figure(title, subtitle, x_title=metric_title(x), y_title=metric_title(y), theme=theme, height=height)
    if not cells:
        return empty_note(figure, "No runs yet", theme)
    low, high = color_range or _range([cell.value for cell in cells.values()])
    texts = {
        key: [number_text(cell.value, kind)] + ([f"± {_spread_text(cell.sd, kind)}"] if cell.n > 1 else [])
        for key, cell in cells.items()
    }
    _draw(figure, xs, ys, cells, texts, low, high, CIVIDIS, colorbar("", theme, kind), x, y, selected, theme, height)
    return figure


def difference_heat_map(
    table: pd.DataFrame,
    *,
    value: str = "difference",
    metric: str = "ev_total",
    x: str = "d_sae",
    y: str = "k",
    title: str | None = None,
    subtitle: str = "",
    kind: str | None = None,
    selected: tuple[Any, Any] | None = None,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """The difference of two experiments by cell: blue below nought, orange above, nought in the paper's
    colour.

    Args:
        table: one line a cell: `x`, `y`, `value` and where known `standard_error`, `left`, `right` (the two
            experiments' values) and `run`. A cell that only one side has is hatched.
        metric: what was subtracted; says how numbers are written (shares differ in percentage points).
    """
    kind = metric_kind(metric) if kind is None else kind
    title = f"Difference in {metric_title(metric)[:1].lower()}{metric_title(metric)[1:]}" if title is None else title
    xs, ys = _axis(table, x, ()), _axis(table, y, ())
    cells = {(a, b): _Cell() for a in xs for b in ys}
    texts: dict[tuple[Any, Any], list[str]] = {}
    for line in table.to_dict("records"):
        key = (_plain(line[x]), _plain(line[y]))
        cell = _Cell(float(line[value]), float(line.get("standard_error", np.nan)))
        cell.runs = [str(line["run"])] if line.get("run") is not None else []
        if "left" in line and "right" in line:
            sides = (number_text(line["left"], kind), number_text(line["right"], kind))
            cell.note = f"{sides[0]} against {sides[1]}"
        cells[key] = cell
        texts[key] = [number_text(cell.value, kind, signed=True)]
        if np.isfinite(cell.sd):
            texts[key].append(f"± {_spread_text(cell.sd, kind)}")
    figure = new_figure(title, subtitle, x_title=metric_title(x), y_title=metric_title(y), theme=theme, height=height)
    if not cells:
        return empty_note(figure, "No cells to compare", theme)
    values = np.array([cell.value for cell in cells.values()])
    reach = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    reach = reach or 1.0
    colors = theme_of(theme).signed
    bar = colorbar("", theme, kind)
    _draw(figure, xs, ys, cells, texts, -reach, reach, colors, bar, x, y, selected, theme, height)
    return figure


def hatching(column: int, row: int, color: str, lines: int = _HATCH_LINES) -> go.layout.Shape:
    """Diagonal lines over the cell at (column, row) of two category axes, as one shape called "missing".

    A heat map has no patterns of its own; on category axes a shape takes places as numbers from 0.
    """
    steps = np.linspace(0, 2, lines + 2)[1:-1]
    parts = []
    for reach in steps:  # the line u + v = reach in the unit square
        start, end = max(0.0, reach - 1), min(1.0, reach)
        ends = [(start, reach - start), (end, reach - end)]
        (x0, y0), (x1, y1) = [(column - 0.5 + u, row - 0.5 + v) for u, v in ends]
        parts.append(f"M {x0:.4f},{y0:.4f} L {x1:.4f},{y1:.4f}")
    return go.layout.Shape(
        type="path", path=" ".join(parts), name="missing", layer="below", line={"color": color, "width": 1}
    )


def label(value: Any) -> str:
    """A factor's value as a category: numbers with separators."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def _draw(
    figure: go.Figure,
    xs: list[Any],
    ys: list[Any],
    cells: dict[tuple[Any, Any], _Cell],
    texts: dict[tuple[Any, Any], list[str]],
    low: float,
    high: float,
    colors: tuple[str, ...],
    bar: dict[str, Any],
    x: str,
    y: str,
    selected: tuple[Any, Any] | None,
    theme: ThemeName,
    height: int,
) -> None:
    t = theme_of(theme)
    columns, rows = [label(a) for a in xs], [label(b) for b in ys]
    grid = np.array([[cells[(a, b)].value for a in xs] for b in ys], dtype=float)
    bar = {**bar, "thickness": 8}
    figure.add_trace(
        go.Heatmap(
            x=columns, y=rows, z=grid, zmin=low, zmax=high, colorscale=colorscale(colors), colorbar=bar,
            showscale=bool(np.isfinite(grid).any()) and high > low,
            xgap=2, ygap=2, hoverinfo="skip", hoverongaps=False, name="value",
        )
    )  # fmt: skip
    size = 15 if len(xs) * len(ys) <= 30 else 12 if len(xs) * len(ys) <= 80 else 10
    shapes, annotations, custom = [], [], []
    for j, b in enumerate(ys):
        for i, a in enumerate(xs):
            cell = cells[(a, b)]
            if np.isfinite(cell.value):
                share = (cell.value - low) / (high - low) if high > low else 0.5
                ink, lines = text_on(color_at(share, colors)), texts[(a, b)]
                small = size - 3
                said = "<br>".join(lines[:1] + [f"<span style='font-size:{small}px'>{s}</span>" for s in lines[1:]])
            else:
                ink = t.bad if cell.state == "failed" else t.accent if cell.state == "running" else t.muted
                said = cell.state if cell.state not in ("missing", "done") else ""
                if cell.state == "running" and np.isfinite(cell.progress):
                    said = f"running<br>{cell.progress:.0%}".replace("%", " %")
                if not said:
                    shapes.append(hatching(i, j, t.rule))
            if said:
                # annotations, not a text trace, which a selection would fade; placed by number, as shapes are
                annotations.append(
                    {
                        "x": i,
                        "y": j,
                        "text": said,
                        "showarrow": False,
                        "font": {"size": size, "color": ink},
                    }
                )
            hover = _hover(cell, texts.get((a, b), []))
            custom.append([cell.runs[0] if cell.runs else "", a, b, ",".join(cell.runs), hover])
    if selected is not None and selected in cells:
        i, j = xs.index(selected[0]), ys.index(selected[1])
        edges = {"x0": i - 0.5, "x1": i + 0.5, "y0": j - 0.5, "y1": j + 0.5}
        outline = {"color": t.ink, "width": 3}
        shapes.append(go.layout.Shape(type="rect", name="selected", layer="above", line=outline, **edges))
    across = [columns[i] for _ in ys for i in range(len(xs))]
    down = [rows[j] for j in range(len(ys)) for _ in xs]
    side = max(8, min(560 / len(xs), (height - 130) / len(ys)) - 4)
    figure.add_trace(
        go.Scatter(  # SVG: a browser allows only so many WebGL figures on a page
            x=across, y=down, mode="markers", name="runs", showlegend=False, customdata=custom,
            marker={"symbol": "square", "size": side, "color": t.ink, "opacity": 0.001},
            # a selection must not dim anything
            selected={"marker": {"opacity": 0.001}}, unselected={"marker": {"opacity": 0.001}},
            hovertemplate=f"{metric_title(x)} %{{x}}<br>{metric_title(y)} %{{y}}<br>%{{customdata[4]}}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(shapes=shapes, annotations=annotations, hoverdistance=-1)
    figure.update_xaxes(type="category", showgrid=False, showline=False, ticks="", categoryarray=columns,
                        categoryorder="array", range=[-0.5, len(xs) - 0.5])  # fmt: skip
    figure.update_yaxes(type="category", showgrid=False, showline=False, ticks="", categoryarray=rows,
                        categoryorder="array", range=[len(ys) - 0.5, -0.5])  # fmt: skip


def _cell(lines: pd.DataFrame, value: str) -> _Cell:
    values = lines[value].to_numpy(float) if value in lines else np.full(len(lines), np.nan)
    good = values[np.isfinite(values)]
    states = [str(state) for state in lines["state"]] if "state" in lines else []
    # what still moves says more about a cell than what has ended
    order = ("running", "queued", "failed", "cancelled", "done")
    progress = lines["progress"].to_numpy(float) if "progress" in lines else np.array([np.nan])
    return _Cell(
        value=float(good.mean()) if len(good) else np.nan,
        sd=float(good.std(ddof=1)) if len(good) > 1 else np.nan,
        n=len(good),
        runs=[str(run) for run in lines["run"]] if "run" in lines else [],
        state=next((state for state in order if state in states), "missing"),
        progress=float(np.nanmean(progress)) if np.isfinite(progress).any() else np.nan,
    )


def _hover(cell: _Cell, texts: list[str]) -> str:
    if not np.isfinite(cell.value):
        words = {"missing": "no run", "done": "no value"}
        return words.get(cell.state, cell.state) if not cell.note else f"no difference: {cell.note}"
    said = " ".join(texts)
    if cell.n > 1:
        said += f" over {cell.n} seeds"
    return f"{said}<br>{cell.note}" if cell.note else said


def _spread_text(value: float, kind: str) -> str:
    text = number_text(value, kind)
    return text.replace(" %", " pp") if kind == "share" else text


def _axis(table: pd.DataFrame, column: str, more: Sequence[Any]) -> list[Any]:
    found = {_plain(value) for value in table[column]} | {_plain(value) for value in more}
    return sorted(found, key=lambda value: (isinstance(value, str), value))


def _plain(value: Any) -> Any:
    """Numpy's scalars as Python's, 512.0 as 512: one value, one category."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _range(values: list[float]) -> tuple[float, float]:
    good = np.array([value for value in values if np.isfinite(value)])
    return (float(good.min()), float(good.max())) if len(good) else (0.0, 1.0)
