"""An experiment in tasks: its runs grouped by slice and d_sae, each group under a claim of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sae.capture.run_rows import rows_read
from sae.workspace.executors.claims import Claims, wait_turn
from sae.workspace.executors.driver import engine_for, make_tasks, run_tasks

if TYPE_CHECKING:
    from sae.experiments.plan import Plan, RunPlan
    from sae.workspace.child import JobProgress
    from sae.workspace.executors.configuration import Executor
    from sae.workspace.folder import Workspace


def groups_of(runs: Iterable[RunPlan]) -> dict[str, list[RunPlan]]:
    """Runs by what they share: `L2P0-d512` are those of layer 2, position 0 with 512 features."""
    found: dict[str, list[RunPlan]] = {}
    for run in runs:
        layers = run.config.layers_read or (() if run.layer is None else (run.layer,))
        layer = f"L{'_'.join(map(str, layers))}" if layers else ""
        position = "" if run.position is None else f"P{run.position}"
        found.setdefault(f"{layer}{position}-d{run.config.d_sae}".lstrip("-"), []).append(run)
    return found


def train_in_tasks(workspace: Workspace, plan: Plan, executor: Executor, progress: JobProgress) -> None:
    """Train the runs that are not done on the executor's machines, a task for each group.

    Raises:
        UserError: if the executor can't be used, or a task failed.
        Cancelled: when the job was asked to stop.
    """
    done = {run.id for run in plan.runs if (workspace.run_folder(run.id) / "metrics.json").exists()}
    for run in plan.runs:
        finished = run.id in done
        progress.cell(run.id, status="done" if finished else "queued", fraction=float(finished))
    left = groups_of(run for run in plan.runs if run.id not in done)
    if not left:
        return
    parts: dict[str, tuple[float, dict[str, Any]]] = {
        f"train-{group}": (len(runs), {"experiment": plan.spec.as_dict(), "runs": [run.id for run in runs]})
        for group, runs in left.items()
    }
    tasks = make_tasks(progress.folder, parts, "train-task")
    run_tasks(engine_for(executor, workspace, progress.folder), tasks, progress, "runs", before=len(done))


def train_claimed(workspace: Workspace, plan: Plan, device: str, progress: JobProgress) -> None:
    """Train the runs of `plan` that are not done, on this machine, and none that another process trains just now.

    Groups that somebody else has claimed are waited for; what is left of them is trained then.
    """
    import socket

    from sae.experiments.data import Data
    from sae.experiments.execute import execute
    from sae.workspace.results import WorkspaceStore, now

    class Store(WorkspaceStore):
        """Says in the log where and when a run began and ended."""

        def begin(self, run: RunPlan) -> None:
            print(f"{now()} run {run.id} begins on {host}", flush=True)
            super().begin(run)

        def finish(self, run: RunPlan, result: Any) -> None:
            super().finish(run, result)
            print(f"{now()} run {run.id} is finished on {host}", flush=True)

    host = socket.gethostname()
    activations = workspace.open_activations(plan.spec.activations)
    store = Store(workspace, plan.spec.kind, plan.spec.name, device, progress)

    def open_slice(run: RunPlan) -> Data:
        return Data(rows_read(activations, run.place), device)

    groups = groups_of(plan.runs)
    folder = workspace.experiment_folder(plan.spec.name) / "claims"
    with Claims(folder, lost=progress.stop.set) as claims:
        left = list(groups)
        while left:
            mine = wait_turn(
                claims,
                left,
                lambda: progress.update(0, len(plan.runs), "waiting for another process that trains these runs"),
            )
            left = [name for name in left if name not in mine]
            # Read again by `execute` under the claim: who had a group before may have finished it.
            chosen = {run.id for name in mine for run in groups[name]}
            execute(replace(plan, runs=[run for run in plan.runs if run.id in chosen]), open_slice, store, progress)
            claims.release(mine)
