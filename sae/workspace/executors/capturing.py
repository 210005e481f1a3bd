"""A capture in tasks: shards of its batches, each under a claim of its own, and one task that puts them together."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.files import to_json
from sae.workspace.executors.claims import Claims, wait_turn
from sae.workspace.executors.driver import engine_for, make_tasks, run_tasks

if TYPE_CHECKING:
    from sae.workspace.child import JobProgress
    from sae.workspace.executors.configuration import Executor
    from sae.workspace.folder import Workspace


def capture_in_tasks(workspace: Workspace, spec: dict[str, Any], executor: Executor, progress: JobProgress) -> None:
    """Capture on the executor's machines, and drop the shards when the activations are there.

    Raises:
        UserError: if the executor can't be used, or a task failed.
        Cancelled: when the job was asked to stop.
    """
    count = executor.settings["capture_tasks"]
    engine = engine_for(executor, workspace, progress.folder)
    if not workspace.activations_folder(spec["name"]).exists():  # else the last task says whether it is of this spec
        parts: dict[str, tuple[float, dict[str, Any]]] = {
            f"capture-{number}-of-{count}": (1.0, {"capture": spec, "part": [number, count]}) for number in range(count)
        }
        run_tasks(engine, make_tasks(progress.folder, parts, "capture-task"), progress, "capturing")
    last = make_tasks(progress.folder, {"merge": (1.0, {"capture": spec, "count": count})}, "merge-task")
    run_tasks(engine, last, progress, "putting the shards together")
    shutil.rmtree(_shards(workspace, spec).parent, ignore_errors=True)


def capture_claimed(
    workspace: Workspace, spec: dict[str, Any], part: tuple[int, int], device: str, progress: JobProgress
) -> None:
    """Fill one shard on this machine, when nobody else does."""
    from sae.workspace.captures import capture_shard

    folder = _shards(workspace, spec)
    with Claims(folder / "claims", lost=progress.stop.set) as claims:
        wait_turn(claims, [_name(*part)], lambda: progress.update(0, 1, "waiting for another process at this shard"))
        capture_shard(spec, folder / _name(*part), part, device, progress)


def merge_claimed(workspace: Workspace, spec: dict[str, Any], count: int, device: str, progress: JobProgress) -> None:
    """Make the activations from all shards."""
    from sae.capture.shards import Shards
    from sae.workspace.captures import capture

    folder = _shards(workspace, spec)
    target = workspace.activations_folder(spec["name"])
    with Claims(folder / "claims", lost=progress.stop.set) as claims:
        wait_turn(claims, ["merge"], lambda: progress.update(0, 1, "waiting for another process at this capture"))
        shards = None if target.exists() else Shards([folder / _name(number, count) for number in range(count)])
        capture(spec, target, device, progress, shards)


def _name(number: int, count: int) -> str:
    return f"{number}-of-{count}"


def _shards(workspace: Workspace, spec: dict[str, Any]) -> Path:
    """Beside the activations, and not in the job's folder: a cancelled capture goes on in another job."""
    digest = hashlib.sha256(to_json(spec).encode()).hexdigest()[:12]
    return workspace.activations_folder(spec["name"]).with_name(f".{spec['name']}.shards") / digest
