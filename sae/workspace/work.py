"""What each kind of job does. Runs in a child process of the supervisor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sae.common.devices import choose
from sae.common.errors import UserError
from sae.common.files import write_json, write_parquet

if TYPE_CHECKING:
    from sae.workspace.child import JobProgress
    from sae.workspace.folder import Workspace


def perform(workspace: Workspace, kind: str, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Do the job. Raises UserError for an unknown kind or a spec that can't be carried out, Cancelled when stopped."""
    works = {
        "experiment": run_experiment,
        "measurement": run_measurement,
        "capture": run_capture,
        "map": make_maps,
        "demo": run_demo,
    }
    if kind not in works:
        raise UserError(f"job kind {kind!r} is not known: take one of {', '.join(works)}")
    import torch

    torch.set_num_threads(int(os.environ.get("SAE_THREADS") or os.cpu_count() or 1))
    works[kind](workspace, spec, choose(device), progress)


def run_experiment(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Train the runs of an experiment; spec is `sae.experiments.plan.Spec`. Results are read off as they come."""
    from sae.experiments.execute import Data, execute
    from sae.experiments.plan import RunPlan, Spec
    from sae.workspace.register import planned, register
    from sae.workspace.results import WorkspaceStore

    wanted = Spec(**spec)
    plan = planned(workspace, wanted)
    register(workspace, plan)
    progress.update(0, len(plan.runs), "loading activations")
    activations = workspace.open_activations(wanted.activations)
    store = WorkspaceStore(workspace, wanted.kind, wanted.name, device, progress)
    for run in plan.runs:
        progress.cell(run.id, status="queued", fraction=0.0)

    def open_slice(run: RunPlan) -> Data:
        return Data(activations.slice(run.layer, run.position), device)

    execute(plan, open_slice, store, progress)
    experiment = workspace.experiment(wanted.name)
    write_parquet(experiment.folder / "results.parquet", experiment.results())
    failed = [run for run in plan.runs if not store.done(run.id)]
    if len(failed) == len(plan.runs):
        raise UserError(f"all {len(failed)} runs failed; the first: {workspace.run(failed[0].id).error}")
    workspace.jobs.enqueue("map", wanted.name, {"runs": [run.id for run in plan.runs]}, priority=10)


def run_measurement(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Measure the runs of an experiment; spec is `sae.experiments.measurement.MeasurementSpec`."""
    from sae.workspace.measurements import measure_runs

    measure_runs(workspace, spec, device, progress)


def run_capture(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Capture activations; spec: see `sae.workspace.captures.checked`."""
    from sae.workspace.captures import capture

    capture(spec, workspace.activations_folder(spec["name"]), device, progress)


def make_maps(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """UMAP of the decoder rows of finished runs that have none yet; spec: runs."""
    from sae.analysis.maps import decoder_map

    for number, name in enumerate(spec["runs"]):
        progress.update(number, len(spec["runs"]), "maps")
        folder = workspace.run_folder(name)
        if not (folder / "metrics.json").exists() or (folder / "map.parquet").exists():
            continue
        run = workspace.run(name)
        features = run.features()
        table, parameters = decoder_map(run.weights()["W_dec"], ~features["dead"].to_numpy(bool))
        if folder.exists():  # not deleted meanwhile
            write_json(folder / "map.json", parameters)
            write_parquet(folder / "map.parquet", table)
    progress.update(len(spec["runs"]), len(spec["runs"]), "maps")


def run_demo(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """The embedded demo: capture, then the grid; spec: `capture` and `experiment`, each as its own job takes it."""
    from sae.workspace.demo import run

    run(workspace, spec, device, progress)
