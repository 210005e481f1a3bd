"""What differs between runs: measurements, configuration, environment; and their curves over one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import streamlit as st

from sae.figures.style import metric_kind, metric_title, number_text
from sae.ui import compare_runs, page, pickers, reproduce
from sae.ui.panel import figure_panel, table_panel

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

HEIGHT = 420
_BESIDE_CURVES = 2  # runs whose columns fit beside the curves
_CURVES = ("validation_ev_total", "loss", "dead_share", "reconstruction_loss", "ev_total_batch", "running_l0")
_NOT_SHOWN = {"start", "stop", "sha256"}


class Choices(NamedTuple):
    """What stands in the page's row of controls."""

    split: str
    curve: str | None
    everything: bool


def controls(runs: Sequence[RunFolder]) -> Choices:
    """Split, curve, and whether to show what is the same, all in the address."""
    split = pickers.pick_split([name for name in runs[0].metrics if all(name in run.metrics for run in runs)])
    histories = [run.history() for run in runs]
    here = [column for column in _CURVES if any(column in history for history in histories)]
    curve = pickers.pick_choice("Curve", here, name="curve", default=here[0], format=metric_title) if here else None
    return Choices(split or "all", curve, pickers.pick_switch("All lines", name="all", help="Also what is the same"))


def show(runs: Sequence[RunFolder], choices: Choices) -> None:
    """The table of what differs beside the curves; above them where its columns need the whole width."""
    names = compare_runs.names(runs)
    wide = len(runs) > _BESIDE_CURVES
    left, right = (st.container(), st.container()) if wide else st.columns([1.6, 1], gap="medium")
    with left:
        _table(runs, names, choices)
    with right:
        _curves(runs, names, choices.curve)


def differences(runs: Sequence[RunFolder], names: Sequence[str], split: str, everything: bool = False) -> pd.DataFrame:
    """A line a number or setting: group, what, and a column of text a run; `differs`.

    Args:
        everything: also what is the same in all runs.
    """
    lines: list[dict[str, Any]] = []
    for group, sides in _groups(runs, split).items():
        for key in dict.fromkeys(key for side in sides for key in side):
            values = [side.get(key) for side in sides]
            differs = any(value != values[0] for value in values[1:])
            if differs or everything:
                said = [number_text(v, metric_kind(key)) if _measured(group) else _text(v) for v in values]
                title = metric_title(key) if _measured(group) else key.replace("_", " ")
                lines.append({"group": group, "what": title, **dict(zip(names, said, strict=True)), "differs": differs})
    return pd.DataFrame(lines, columns=["group", "what", *names, "differs"])


def _groups(runs: Sequence[RunFolder], split: str) -> dict[str, list[Mapping[str, Any]]]:
    return {
        "Measured": [run.metrics.get(split, {}) for run in runs],
        "Model": [run.config["model"] for run in runs],
        "Training": [run.config.get("training") or {} for run in runs],
        "Data": [_flat(run.config["data"]) for run in runs],
        "Environment": [run.config.get("environment") or {} for run in runs],
    }


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    rows = {f"rows, {name}": count for name, count in data.get("rows", {}).items()}
    digest = {"activations' SHA-256": str(data.get("sha256", ""))[:12]}
    return {key: value for key, value in data.items() if key not in _NOT_SHOWN and key != "rows"} | digest | rows


def _measured(group: str) -> bool:
    return group == "Measured"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(runs: Sequence[RunFolder], names: Sequence[str], choices: Choices) -> None:
    split, everything = choices.split, choices.everything
    table = differences(runs, names, split, everything)
    same = len(differences(runs, names, split, True)) - int(table["differs"].sum())
    text = st.column_config.TextColumn
    table_panel(
        table, key="compare_differences", title="What differs", height=HEIGHT - 50,
        meaning=f"Measurements on {split} rows, configuration and environment. {same:,} lines are the same in all.",
        n=f"{len(runs)} runs", filename="compare-differences",
        formula="Numbers differ where their stored values do, however they are rounded here.",
        columns={
            "group": text("Group", width=95), "what": text("", width=290 if len(runs) <= _BESIDE_CURVES else 330),
            **{name: text(name, width=110 if len(runs) <= _BESIDE_CURVES else 140) for name in names},
            "differs": st.column_config.CheckboxColumn("Differs", width=60) if everything else None,
        },
        reproduce=reproduce.Reproduce(
            "\n".join(f"python -m sae run show {run.id} --json" for run in runs),
            "import sae\nfrom sae.ui.compare_differences import differences\n\n"
            f"runs = [sae.open(name).folder for name in {[run.id for run in runs]}]\n"
            f'differences(runs, {list(names)}, "{split}")',
            reads(runs),
        ),
    )  # fmt: skip


def reads(runs: Sequence[RunFolder]) -> dict[str, str]:
    """SHA-256 by name of all that the runs stand on and wrote."""
    return {name: digest for run in runs for name, digest in reproduce.hashes(run).items()}


def _curves(runs: Sequence[RunFolder], names: Sequence[str], column: str | None) -> None:
    from sae.figures.curves import learning_curves

    histories = {name: run.history() for name, run in zip(names, runs, strict=True)}
    missing = [name for name, history in histories.items() if column not in history]
    if column is None or len(missing) == len(runs):
        st.caption("None of these SAEs was trained here: they have no learning curves.")
        return
    colours = {name: compare_runs.colour(at) for at, name in enumerate(names)}
    figure = learning_curves(
        histories, column, colors=colours, log_y=metric_kind(column) == "number", theme=page.theme(), height=HEIGHT - 50
    )
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"}, showlegend=True
    )
    table = pd.concat(
        [
            history[["step", column]].dropna().assign(run=name)
            for name, history in histories.items()
            if column in history
        ]
    )
    steps = max(int(history["step"].max()) for history in histories.values() if len(history))
    figure_panel(
        figure, table[["run", "step", column]], key="compare_curves", title=f"{metric_title(column)} in training",
        meaning="One line a run." + (f" Without a curve: {', '.join(missing)}." if missing else ""),
        n=f"{steps:,} steps", filename="compare-curves",
        reproduce=reproduce.Reproduce(
            "\n".join(f"python -m sae run show {run.id} --json" for run in runs),
            "import sae\nfrom sae.figures.curves import learning_curves\n\n"
            f"runs = [sae.open(name) for name in {[run.id for run in runs]}]\n"
            f'learning_curves({{run.title: run.history for run in runs}}, "{column}").show()',
            reads(runs),
        ),
    )  # fmt: skip
