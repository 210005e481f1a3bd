"""What each kind of job does. Runs in a child process of the supervisor, or of what an executor runs elsewhere."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sae.common.devices import choose
from sae.common.errors import UserError
from sae.common.files import write_json, write_parquet
from sae.workspace.processes import follow, follows, shared, without

if TYPE_CHECKING:
    from sae.workspace.child import JobProgress
    from sae.workspace.folder import Workspace


def perform(workspace: Workspace, kind: str, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Do the job or the task. Experiments and captures go to the executor that the workspace is configured for.

    Args:
        device: as it was asked for; `auto` is the fastest of the machine that does the work.

    Raises:
        UserError: for an unknown kind, or a spec that can't be carried out.
        Cancelled: when stopped.
    """
    works = {
        "experiment": run_experiment,
        "measurement": run_measurement,
        "evaluation": run_evaluation,
        "capture": run_capture,
        "map": make_maps,
        "demo": run_demo,
        **TASKS,
    }
    if follows():
        follow(workspace, spec, here(device))
        return
    if kind not in works:
        known = [name for name in works if name not in TASKS]
        raise UserError(f"job kind {kind!r} is not known: take one of {', '.join(known)}")
    works[kind](workspace, spec, device, progress)


def here(device: str) -> str:
    """The device of this machine that `device` stands for; torch may use as many threads as the job should."""
    import torch

    torch.set_num_threads(int(os.environ.get("SAE_THREADS") or os.cpu_count() or 1))
    return choose(device)


def run_experiment(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Train the runs of an experiment; spec is `sae.experiments.plan.Spec`. Results are read off as they come."""
    from sae.experiments.plan import Spec
    from sae.workspace.executors import configured
    from sae.workspace.executors.training import train_claimed, train_in_tasks
    from sae.workspace.register import planned, register

    wanted = Spec(**without(spec))
    plan = planned(workspace, wanted)
    register(workspace, plan)
    progress.update(0, len(plan.runs), "loading activations")
    for run in plan.runs:
        progress.cell(run.id, status="queued", fraction=0.0)
    executor = configured(workspace)
    if executor.remote:
        train_in_tasks(workspace, plan, executor, progress)
    else:
        with shared(here(device)) as own:
            train_claimed(workspace, plan, own, progress)
    experiment = workspace.experiment(wanted.name)
    write_parquet(experiment.folder / "results.parquet", experiment.results())
    failed = [run for run in plan.runs if not (workspace.run_folder(run.id) / "metrics.json").exists()]
    if len(failed) == len(plan.runs):
        raise UserError(f"all {len(failed)} runs failed; the first: {workspace.run(failed[0].id).error}")
    workspace.jobs.enqueue("map", wanted.name, {"runs": [run.id for run in plan.runs]}, priority=10)


def run_measurement(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Measure the runs of an experiment; spec is `sae.experiments.measurement.MeasurementSpec`."""
    from sae.workspace.measurements import measure_runs

    measure_runs(workspace, spec, here(device), progress)


def run_evaluation(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Evaluate runs; spec: `runs`, and `evaluations` with their settings."""
    from sae.workspace.evaluations import evaluate

    evaluate(workspace, spec, here(device), progress)


def run_capture(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Capture activations; spec: see `sae.workspace.captures.checked`."""
    from sae.workspace.captures import capture, checked
    from sae.workspace.executors import configured
    from sae.workspace.executors.capturing import capture_in_tasks

    executor = configured(workspace)
    if executor.remote:
        capture_in_tasks(workspace, checked(spec), executor, progress)
    else:
        capture(spec, workspace.activations_folder(spec["name"]), here(device), progress)


def make_maps(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """UMAP of the decoder rows of finished runs that have none yet; spec: runs."""
    from sae.analysis.maps import decoder_map

    here(device)
    for number, name in enumerate(spec["runs"]):
        progress.update(number, len(spec["runs"]), "maps")
        folder = workspace.run_folder(name)
        if not (folder / "metrics.json").exists() or (folder / "map.parquet").exists():
            continue
        run = workspace.run(name)
        features = run.features()
        table, parameters = decoder_map(run.directions(), ~features["dead"].to_numpy(bool))
        if folder.exists():  # not deleted meanwhile
            write_json(folder / "map.json", parameters)
            write_parquet(folder / "map.parquet", table)
    progress.update(len(spec["runs"]), len(spec["runs"]), "maps")


def run_demo(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """The embedded demo: capture, then the grid; spec: `capture` and `experiment`, each as its own job takes it."""
    from sae.workspace.demo import run

    run(workspace, spec, device, progress)


def train_task(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """A group of an experiment's runs, where an executor put it; spec: `experiment`, `runs` (their ids)."""
    from sae.experiments.plan import Spec
    from sae.workspace.executors.training import train_claimed
    from sae.workspace.register import planned

    plan = planned(workspace, Spec(**spec["experiment"]))
    wanted = set(spec["runs"])
    runs = [run for run in plan.runs if run.id in wanted]
    train_claimed(workspace, replace(plan, runs=runs), here(device), progress)


def capture_task(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """One shard of a capture; spec: `capture`, and `part` as its number and the count of shards."""
    from sae.workspace.executors.capturing import capture_claimed

    number, count = spec["part"]
    capture_claimed(workspace, spec["capture"], (number, count), here(device), progress)


def merge_task(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Activations from all shards of a capture; spec: `capture`, `count`."""
    from sae.workspace.executors.capturing import merge_claimed

    merge_claimed(workspace, spec["capture"], spec["count"], here(device), progress)


#: What executors run; made by jobs, never queued.
TASKS = {"train-task": train_task, "capture-task": capture_task, "merge-task": merge_task}
