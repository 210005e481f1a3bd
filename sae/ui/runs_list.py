"""The tables of the Home page: all runs, all experiments, all jobs; filtered, sorted, ready to show."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui.words import ago, seconds_text

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace

ALL = "all"
ALONE = "none"
SORTS = {
    "created": "Newest",
    "name": "Name",
    "validation.ev_total": "Explained variance",
    "all.dead": "Dead features",
    "k": "K",
    "d_sae": "Dictionary size",
    "seconds": "Time taken",
}
_DOWN_FIRST = ("created", "validation.ev_total", "seconds")
_SHOWN = (
    "name", "experiment", "layer", "position", "preset", "d_sae", "k", "seed", "validation.ev_total", "all.dead",
    "validation.l0", "seconds", "status", "created", "activations",
)  # fmt: skip


def all_runs(workspace: Workspace) -> pd.DataFrame:
    """Every run, a line each (see `sae.workspace.index`)."""
    table = workspace.runs_table()
    return table if table.empty else table.reindex(columns=list(dict.fromkeys([*_SHOWN, *table.columns])))


def chosen_runs(
    table: pd.DataFrame, text: str = "", experiment: str = ALL, sort: str = "created", turned: bool = False
) -> pd.DataFrame:
    """The lines that hold every word of `text` somewhere (`k=20` looks at one column), in the order asked for."""
    if experiment != ALL:
        table = table[table["experiment"].isna() if experiment == ALONE else table["experiment"] == experiment]
    for word in text.lower().split():
        table = table[_holding(table, word)]
    down = (sort in _DOWN_FIRST) != turned
    return table.sort_values(sort, ascending=not down, kind="stable", na_position="last")


def _holding(table: pd.DataFrame, word: str) -> pd.Series:
    column, equals, value = word.partition("=")
    if equals and column in table:
        return table[column].map(_text).str.lower() == value
    columns = ("id", "name", "experiment", "activations", "status", "preset", "kind", "architecture")
    found = table["id"].map(_text).str.lower().str.contains(word, regex=False)
    for name in columns[1:]:
        if name in table:
            found |= table[name].map(_text).str.lower().str.contains(word, regex=False)
    return found


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def shown_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that people read, without those that are empty everywhere."""
    shown = table[[column for column in _SHOWN if column in table and table[column].notna().any()]].copy()
    if "all.dead" in shown:
        shown["all.dead"] *= 100
    if "created" in shown:
        shown["created"] = shown["created"].map(lambda iso: ago(str(iso)))
    return shown


def run_columns() -> dict[str, Any]:
    """Streamlit's column configuration for `shown_runs`."""
    config = st.column_config
    return {
        "name": config.TextColumn("Run", width=198),
        "experiment": config.TextColumn("Experiment", width=100),
        "activations": config.TextColumn("Activations", width="small"),
        "layer": config.NumberColumn("Layer", format="%d", width=48),
        "position": config.NumberColumn("Position", format="%d", width=70),
        "status": config.TextColumn("Status", width=58),
        "preset": config.TextColumn("Recipe", width=80),
        "d_sae": config.NumberColumn("d_sae", format="localized", width=65),
        "k": config.NumberColumn("K", format="%d", width=50),
        "seed": config.NumberColumn("Seed", format="%d", width=50),
        "validation.ev_total": config.NumberColumn(
            "EV", format="%.3f", width=60, help="Explained variance (EV_total) on validation rows."
        ),
        "all.dead": config.NumberColumn(
            "Dead", format="%.1f %%", width=70, help="Share of features that are active on no row."
        ),
        "validation.l0": config.NumberColumn(
            "L0", format="%.1f", width=54, help="Mean number of active features a row, on validation rows."
        ),
        "seconds": config.NumberColumn("Time", format="%.1f s", width=65, help="Training and measuring."),
        "created": config.TextColumn("Begun", width=85),
    }


def experiments_table(workspace: Workspace, runs: pd.DataFrame) -> pd.DataFrame:
    """A line an experiment: name, kind, activations, how many runs are trained (or measured), factors, when (ISO)."""
    import pandas as pd

    done = runs[runs["status"] == "done"]["experiment"].value_counts() if len(runs) else {}
    lines = []
    for experiment in workspace.experiments():
        if experiment.source is None:
            total, trained = len(experiment.run_ids()), int(done.get(experiment.name, 0))
        else:
            states = experiment.runs_table()["status"]
            total, trained = len(states), int((states == "done").sum())
        lines.append(
            {
                "name": experiment.name,
                "kind": experiment.kind,
                "activations": experiment.activations,
                "trained": trained / total if total else 0.0,
                "runs": f"{trained:,} of {total:,}",
                "varies": "; ".join(
                    f"{n} {', '.join(map(str, v))}" for n, v in experiment.factors.items() if len(v) > 1
                ),
                "created": experiment.created,
            }
        )
    return pd.DataFrame(lines)


def shown_experiments(table: pd.DataFrame) -> pd.DataFrame:
    """`experiments_table` as people read it."""
    return table.assign(created=[ago(iso) for iso in table["created"]])


def jobs_table(workspace: Workspace) -> pd.DataFrame:
    """The newest hundred jobs, a line each; `seconds` from its first start to its end, or until now."""
    import pandas as pd

    lines = []
    for job in workspace.jobs.all():
        lines.append(
            {
                "kind": job.kind,
                "name": job.name,
                "status": "stopped" if job.status == "cancelled" else job.status,
                "device": job.device,
                "seconds": (job.finished or time.time()) - job.started if job.started else float("nan"),
                "queued": datetime.fromtimestamp(job.created, UTC).isoformat(timespec="seconds"),
                "error": job.error or "",
                "id": job.id,
            }
        )
    return pd.DataFrame(lines)


def shown_jobs(table: pd.DataFrame) -> pd.DataFrame:
    """`jobs_table` as people read it: how long in words, when by the clock of this machine."""
    return table.assign(
        seconds=[seconds_text(took) if took == took else "" for took in table["seconds"]],
        queued=[datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M") for iso in table["queued"]],
    )


@st.cache_data(ttl=10, max_entries=4, show_spinner=False)
def disk_used(root: str) -> dict[str, int]:
    """Bytes by kind; at most ten seconds old, for it looks at every file."""
    from pathlib import Path

    from sae.workspace import Workspace

    return Workspace(Path(root)).disk_used()
