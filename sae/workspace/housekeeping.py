"""Renaming and deleting runs, with the checks that keep people from pulling the floor away from a running job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sae.common.errors import UserError
from sae.common.files import write_json
from sae.workspace.access import require_change

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace

LONGEST_NAME = 80


def rename_run(workspace: Workspace, run: str, name: str) -> None:
    """Call a run something; an empty name brings back the one made of its factors. Its id and folder stay.

    Raises:
        UserError: for a name over 80 characters or with unprintable ones, if there is no such run, or for a viewer.
    """
    require_change("renaming a run")
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(f"the name {name[:40]!r} can't be used: take at most {LONGEST_NAME} printable characters")
    folder = workspace.run(run)
    config = {key: value for key, value in folder.config.items() if key != "name"}
    write_json(folder.folder / "config.json", {**config, "name": name} if name else config)


def delete_runs(workspace: Workspace, runs: Iterable[str]) -> int:
    """Delete runs with all their files; their experiments show them as missing. Returns how many there were.

    Raises:
        UserError: if one belongs to an experiment that is being trained, or for a viewer; nothing is deleted then.
    """
    require_change("deleting runs")
    folders = [workspace.run(run) for run in dict.fromkeys(runs)]
    active = {job.name for job in workspace.jobs.active() if job.kind in ("experiment", "demo")}
    for folder in folders:
        experiment = folder.config.get("experiment")
        if experiment in active:
            raise UserError(f"run {folder.id} belongs to {experiment!r}, which is being trained: stop that first")
    for folder in folders:
        workspace.delete_run(folder.id)
    return len(folders)
