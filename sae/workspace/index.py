"""The table of all runs, kept in the index and brought up to date from the files each time it is read.

Only what changed since is read again, so that a workspace of a thousand runs lists in milliseconds; a run folder that
was copied in or deleted by hand is seen like any other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import to_json
from sae.workspace.access import read_only
from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.folder import Workspace


def runs_table(workspace: Workspace) -> pd.DataFrame:
    """A line a run: id, name, experiment, kind, activations, layer, position, status, created, seconds, the factors,
    and the metrics of every split as `validation.ev_total` etc."""
    stamps = {run: _modified(workspace.root / "runs" / run) for run in workspace.run_ids()}
    kept = workspace.last_runs.get("table")
    if kept is None or kept[0] != stamps:  # a page asks several times, and most often nothing has changed
        kept = workspace.last_runs["table"] = (stamps, _read(workspace, stamps))
    return kept[1].copy()


def _read(workspace: Workspace, stamps: dict[str, int]) -> pd.DataFrame:
    import pandas as pd

    known = {row["id"]: (row["modified"], row["line"]) for row in workspace.database.read("SELECT * FROM runs")}
    lines, changed = [], []
    for run, modified in stamps.items():
        if run in known and known[run][0] == modified:
            lines.append(json.loads(known[run][1]))
            continue
        line = _line(RunFolder(workspace.root / "runs" / run))
        changed.append((run, modified, to_json(line)))
        lines.append(line)
    gone = set(known) - set(stamps)
    if (changed or gone) and not read_only():
        with workspace.database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", changed)
            connection.executemany("DELETE FROM runs WHERE id = ?", [(run,) for run in gone])
    return pd.DataFrame(lines)


def _modified(folder: Path) -> int:
    """Changes whenever a file that the line is made from does."""
    total = 0
    for name in ("config.json", "metrics.json", "error.json"):
        try:
            total += os.stat(f"{folder}/{name}").st_mtime_ns  # pathlib's own takes three times as long
        except FileNotFoundError:
            total += 1
    return total % 2**62


def _line(run: RunFolder) -> dict[str, Any]:
    try:
        config = run.config
        line: dict[str, Any] = {
            "id": run.id,
            "name": config.get("name", run.id),
            "experiment": config.get("experiment"),
            "kind": config["kind"],
            "activations": config["data"]["activations"],
            "layer": config["data"]["layer"],
            "position": config["data"]["position"],
            "created": config["created"],
            "architecture": config["model"]["architecture"],
            "d_sae": config["model"]["d_sae"],
            **config["factors"],
        }
        line["status"] = "done" if run.done else "failed" if run.error else "unfinished"
        if run.done:
            line["seconds"] = run.results["seconds"]
            for split, metrics in run.metrics.items():
                line |= {f"{split}.{metric}": value for metric, value in metrics.items()}
        return line
    except (UserError, KeyError, TypeError) as error:
        return {"id": run.id, "name": run.id, "status": "unreadable", "error": f"{type(error).__name__}: {error}"}
