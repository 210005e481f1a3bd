"""The grid of an experiment as its progress display: one cell a combination of factors, filling in as it trains.

Two factors span the table (columns and rows), the others make tables of their own, and seeds share a cell. Drawn by
a small component, so that a cell changes in place: no redraw, no flicker, and every cell is a button.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui.elements import MAKE
from sae.ui.words import count, number, share

if TYPE_CHECKING:
    import pandas as pd

TITLES = {"k": "K", "d_sae": "d_sae", "preset": "recipe"}
STATUS_WORDS = {
    "queued": "queued",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "stopped",
}
_CSS = """
.all {
  display: flex; flex-wrap: wrap; gap: .4rem 2.2rem;
  font-family: var(--st-font); color: var(--st-text-color);
}
figure { margin: 0; flex: 1 1 21rem; min-width: 0; max-width: 46rem; }
figcaption { font-size: .88rem; font-weight: 600; margin: 0 0 .2rem 0; }
table { border-collapse: separate; border-spacing: 3px; width: 100%; table-layout: fixed; }
th { font-size: .8rem; font-weight: 500; font-variant-numeric: tabular-nums; padding: 0 .3rem; }
th.row { width: 5.2rem; text-align: right; white-space: nowrap; }
td { padding: 0; }
button {
  all: unset; box-sizing: border-box; position: relative; display: block; width: 100%; height: 3rem;
  border: 1px solid var(--st-border-color); border-radius: 3px; overflow: hidden; cursor: pointer;
  text-align: center; font-variant-numeric: tabular-nums; background: var(--st-background-color);
}
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
button.chosen { outline: 2px solid var(--st-text-color); outline-offset: 1px; }
button .fill {
  position: absolute; inset: 0 auto 0 0; width: 0; background: var(--st-blue-background-color);
  border-right: 2px solid var(--st-primary-color);
}
button .words { position: relative; display: flex; flex-direction: column; justify-content: center; height: 100%; }
button .top { font-size: .92rem; font-weight: 600; line-height: 1.25; }
button .sub { font-size: .74rem; line-height: 1.2; }
button.queued, button.cancelled {
  background: repeating-linear-gradient(
    135deg, transparent 0 6px, var(--st-secondary-background-color) 6px 12px);
}
button.queued .top, button.cancelled .top { font-weight: 400; font-size: .8rem; }
button.failed { background: var(--st-red-background-color); border-color: var(--st-red-color); }
button.running { border-color: var(--st-primary-color); }
"""

_JS = (
    MAKE
    + """
function build(data) {
  const all = make("div", "all")
  for (const table of data.tables) {
    const figure = make("figure")
    const caption = make("figcaption")
    caption.textContent = table.title
    figure.append(caption)
    const grid = make("table")
    const head = grid.createTHead().insertRow()
    const corner = make("th", "row")
    corner.textContent = data.corner
    head.append(corner)
    for (const name of data.columns) { const th = make("th"); th.scope = "col"; th.textContent = name; head.append(th) }
    const body = grid.createTBody()
    table.rows.forEach((row, y) => {
      const line = body.insertRow()
      const th = make("th", "row")
      th.scope = "row"
      th.textContent = data.rows[y]
      line.append(th)
      for (const cell of row) {
        const td = line.insertCell()
        if (!cell) continue
        const button = make("button")
        button.type = "button"
        const words = make("span", "words")
        words.append(make("span", "top"), make("span", "sub"))
        button.append(make("span", "fill"), words)
        td.append(button)
      }
    })
    figure.append(grid)
    all.append(figure)
  }
  return all
}
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const root = parentElement.querySelector("#cells")
  const drawn = data.tables.map(table => [table.title, table.rows.map(row => row.map(cell => !!cell))])
  const shape = JSON.stringify([data.columns, data.rows, drawn])
  if (root.dataset.shape !== shape) {
    root.replaceChildren(build(data))
    root.dataset.shape = shape
  }
  const cells = data.tables.flatMap(table => table.rows.flat()).filter(cell => cell)
  root.querySelectorAll("button").forEach((button, i) => {
    const cell = cells[i]
    button.className = cell.status + (cell.chosen ? " chosen" : "")
    button.style.background = cell.colour || ""
    button.style.color = cell.ink || ""
    button.setAttribute("aria-label", cell.label)
    button.setAttribute("aria-pressed", String(cell.chosen))
    button.title = cell.label
    button.querySelector(".top").textContent = cell.top
    button.querySelector(".sub").textContent = cell.sub
    const fill = button.querySelector(".fill")
    fill.style.display = cell.fill > 0 ? "" : "none"
    fill.style.width = (100 * cell.fill).toFixed(1) + "%"
    button.onclick = () => setTriggerValue("picked", cell.run)
  })
}
"""
)

_draw = st.components.v2.component("sae_cells", html='<div id="cells"></div>', css=_CSS, js=_JS)


def cells(
    runs: pd.DataFrame,
    factors: Mapping[str, Sequence[Any]],
    *,
    key: str,
    chosen: str | None = None,
    on_pick: Callable[[str], None] | None = None,
) -> None:
    """Show the grid.

    Args:
        runs: a line a run: `id`, `status`, `fraction`, a column a factor, and `ev_total`, `dead` where known.
        factors: the values of each factor, in order.
        chosen: the run whose cell is marked.
        on_pick: called with a run of the cell that was clicked.
    """

    def picked() -> None:
        run = st.session_state[key].get("picked")
        if run is not None and on_pick is not None:
            on_pick(run)

    _draw(key=key, data=cells_data(runs, factors, chosen), on_picked_change=picked)


def axes(factors: Mapping[str, Sequence[Any]]) -> tuple[str | None, str | None, list[str]]:
    """Which factor makes columns, which rows, and which tables of their own; seeds share a cell."""
    rest = [name for name in factors if name != "seed"]
    column = "k" if "k" in rest else next((name for name in rest if len(factors[name]) > 1), None)
    column = column or (rest[0] if rest else None)
    rest = [name for name in rest if name != column]
    row = "d_sae" if "d_sae" in rest else next((name for name in rest if len(factors[name]) > 1), None)
    return column, row, [name for name in rest if name != row]


def cells_data(runs: pd.DataFrame, factors: Mapping[str, Sequence[Any]], chosen: str | None = None) -> dict[str, Any]:
    """What the component draws, JSON: tables of cells, each with its words, colour and a run to open."""
    column, row, others = axes(factors)
    columns = list(factors[column]) if column else [None]
    rows = list(factors[row]) if row else [None]
    names = [*others, *(name for name in (row, column) if name)]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in runs.to_dict("records"):
        line = {str(name): value for name, value in line.items()}
        groups.setdefault(tuple(line[name] for name in names), []).append(line)
    combinations = list(dict.fromkeys(key[: len(others)] for key in groups))
    tables = []
    for combination in combinations:
        lines = [
            [
                _cell(groups.get((*combination, *(v for n, v in ((row, y), (column, x)) if n)), []), names, chosen)
                for x in columns
            ]
            for y in rows
        ]
        title = ", ".join(_value(n, v) for n, v in zip(others, combination, strict=True))
        tables.append({"title": title, "rows": lines})
    return {
        "corner": "",
        "columns": [_value(column, x) for x in columns],
        "rows": [_value(row, y) for y in rows],
        "tables": tables,
    }


def _value(name: str | None, value: Any) -> str:
    if name is None:
        return ""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if name == "preset" else f"{TITLES.get(name, name)} {text}"


def _cell(runs: list[dict[str, Any]], names: list[str], chosen: str | None) -> dict[str, Any] | None:
    """One cell for the runs (seeds) that share it; None where the experiment has no such combination."""
    if not runs:
        return None
    statuses = [run["status"] for run in runs]
    done = statuses.count("done")
    status = next((s for s in ("running", "failed", "queued", "cancelled") if s in statuses), "done")
    values = [run["ev_total"] for run in runs if _known(run.get("ev_total"))]
    dead = [run["dead"] for run in runs if _known(run.get("dead"))]
    ev = sum(values) / len(values) if values else None
    open_run = next((run for run in runs if run["status"] == status), runs[0])
    fraction = sum(1.0 if run["status"] == "done" else float(run["fraction"]) for run in runs) / len(runs)
    part = f"{done} of {count(len(runs))}" if len(runs) > 1 else ""
    if status == "done":
        top, sub = number(ev), f"dead {share(sum(dead) / len(dead))}" if dead else ""
    elif ev is not None and status == "running":
        top, sub = number(ev), part or f"{100 * fraction:.0f} %"
    else:
        top = STATUS_WORDS[status]
        sub = part or (f"{100 * fraction:.0f} %" if 0 < fraction < 1 else "")
    words = [_value(name, runs[0][name]) for name in names]
    label = f"{', '.join(words)}: {part + ' ' if part else ''}{STATUS_WORDS[status]}"
    if ev is not None:
        label += f", explained variance {number(ev)}{' so far' if status == 'running' else ''}"
    errors = [run["error"] for run in runs if isinstance(run.get("error"), str)]
    colour, ink = _shade(ev) if status == "done" and ev is not None else ("", "")
    return {
        "run": open_run["id"],
        "status": status,
        "chosen": chosen in [run["id"] for run in runs],
        "top": top,
        "sub": sub,
        "fill": round(fraction, 3) if status == "running" else 0,
        "colour": colour,
        "ink": ink,
        "label": label + (f"; {errors[0]}" if errors else ""),
    }


def _known(value: Any) -> bool:
    return value is not None and value == value


def _shade(ev: float) -> tuple[str, str]:
    """Cividis at `ev` on a scale from 0 to 1, which stays while the grid fills, and the ink that reads on it."""
    from sae.figures.style import color_at, text_on

    colour = color_at(ev)
    return colour, text_on(colour)
