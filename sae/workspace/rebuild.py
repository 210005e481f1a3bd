"""Makes the index again from the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sae.common.errors import UserError
from sae.workspace.access import require_change

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace


def rebuild_index(workspace: Workspace) -> dict[str, int]:
    """Put the old index aside if it can't be read or stands empty, and index what is on disk.

    Returns:
        How many `jobs`, `runs`, `experiments` and `activations` there are.

    Raises:
        UserError: while a supervisor is at work, or for a viewer.
    """
    require_change("making the index again")
    path = workspace.root / "workspace.db"
    try:
        if workspace.jobs.supervisors():
            raise UserError("a supervisor is at work in this workspace: stop it first, or wait until its jobs are done")
        workspace.database.close()
    except UserError as error:
        if "can't be read" not in str(error):
            raise
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    workspace.last_runs.clear()
    jobs = workspace.jobs.rebuild()
    return {
        "jobs": jobs,
        "runs": len(workspace.runs_table()),
        "experiments": len(workspace.experiments()),
        "activations": len(workspace.activations()),
    }
