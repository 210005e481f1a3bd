"""Measurements of another experiment's runs: what stands on disk of them, and the job that makes them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError
from sae.common.files import read_json, write_json, write_parquet
from sae.experiments.measurement import MeasurementSpec
from sae.workspace.experiments import ExperimentFolder
from sae.workspace.results import environment, now

if TYPE_CHECKING:
    from pathlib import Path

    from sae.analysis.codes import FeatureActivations
    from sae.capture.store import Activations
    from sae.experiments.measurement import Case, Measured
    from sae.language_models.codi.model import Codi
    from sae.workspace.child import JobProgress
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder


def register_measurement(workspace: Workspace, spec: MeasurementSpec) -> ExperimentFolder:
    """Write experiment.json; the same name with the same specification leaves what is there.

    Raises:
        UserError: if the kind, the source or a run is unknown, no run is finished, or the name is taken by another
            specification.
    """
    from sae.experiments import measurement_of

    kind = measurement_of(spec.kind)
    settings = kind.settings_of(spec.settings)
    source = workspace.experiment(spec.source)
    if source.source is not None:
        raise UserError(f"{spec.source!r} is a measurement itself: measure {source.source!r}")
    factors = {run["id"]: run["factors"] for run in source.content["runs"]}
    if unknown := [run for run in spec.runs if run not in factors]:
        raise UserError(f"experiment {spec.source!r} has no run {unknown[0]!r}")
    job = workspace.jobs.latest(source.name)
    # Behind a job that trains them, runs will be finished when their turn to be measured comes.
    coming = job is not None and job.active
    finished = list(factors) if coming else [run.id for run in source.runs() if run.done]
    if waiting := [run for run in spec.runs if run not in finished]:
        raise UserError(f"run {waiting[0]!r} is not finished: measure it when it is")
    runs = spec.runs or finished
    if not runs:
        raise UserError(f"experiment {spec.source!r} has no finished runs to measure")
    if kind.one_run and len(runs) > 1:
        raise UserError(f"{kind.name} takes one run: name it with --runs, e.g. --runs {runs[0]}")
    path = workspace.experiment_folder(spec.name) / "experiment.json"
    content = MeasurementSpec(spec.kind, spec.name, spec.source, runs, settings).as_dict()
    if path.exists():
        if read_json(path)["spec"] != content:
            raise UserError(
                f"experiment {spec.name!r} exists with another specification: take another name, or delete it "
                f"('python -m sae experiment delete {spec.name}')"
            )
    else:
        write_json(
            path,
            {
                "format": 1,
                "name": spec.name,
                "kind": spec.kind,
                "created": now(),
                "spec": content,
                "factors": source.factors,
                "runs": [],
                "measured": [{"id": run, "factors": factors[run]} for run in runs],
                "activations": source.activations,
            },
        )
    return workspace.experiment(spec.name)


def measure_runs(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Measure every run that is not measured yet; one that can't be is recorded, and the others go on.

    Raises:
        UserError: if none could be measured.
    """
    from sae.experiments import measurement_of

    experiment = register_measurement(workspace, MeasurementSpec(**spec))
    kind = measurement_of(experiment.kind)
    activations = workspace.open_activations(experiment.activations)
    runs = experiment.measured_runs()
    language_model = cache(lambda: codi_of(activations, device))
    errors: dict[str, str] = {}
    for number, run in enumerate(runs):
        part = experiment.part_folder(run)
        if (part / "results.json").exists():
            progress.cell(run, status="done", fraction=1.0)
            continue
        progress.cell(run, status="running", fraction=0.0)
        progress.update(number, len(runs), kind.title.lower())
        try:
            case = case_of(workspace, run, activations, language_model, device)
            found = kind.of(case, experiment.spec["settings"], Within(progress, number, len(runs)))
        except UserError as error:
            errors[run] = str(error)
            write_json(part / "error.json", {"error": str(error), "time": now()})
            progress.cell(run, status="failed", error=str(error))
            continue
        keep(part, found, device)
        progress.cell(run, status="done", fraction=1.0)
    progress.update(len(runs), len(runs), kind.title.lower())
    write_parquet(experiment.folder / "results.parquet", experiment.results())
    if len(errors) == len(runs):
        raise UserError(next(iter(errors.values())))


def keep(folder: Path, found: Measured, device: str, **more: Any) -> None:
    """Write what was measured of a run: tables and notes first, results.json (with `more`) last."""
    for name, table in found.tables.items():
        write_parquet(folder / f"{name}.parquet", table)
    if found.notes:
        write_json(folder / "notes.json", found.notes)
    (folder / "error.json").unlink(missing_ok=True)
    content = {"format": 1, "results": found.results, "finished": now(), "environment": environment(device), **more}
    write_json(folder / "results.json", content)


class Within:
    """The progress of one run as a part of that of all."""

    def __init__(self, progress: JobProgress, number: int, total: int) -> None:
        self._progress, self._number, self._total = progress, number, total

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        self._progress.update(self._number + done / max(total, 1), self._total, stage, **figures)


def case_of(workspace: Workspace, run: str, activations: Activations, language_model: Any, device: str) -> Case:
    """A run as a measurement sees it. Raises UserError if it is not finished."""
    from sae.experiments.measurement import Case

    folder = workspace.run(run)
    if not folder.done:
        raise UserError(f"run {run} is not finished")
    return Case(
        run=folder.id,
        factors=folder.factors,
        model=folder.model(device),
        codes=folder.codes(),
        slice=rows_read(activations, folder.config["data"]),
        activations=activations,
        language_model=language_model,
        device=device,
        other_seeds=lambda: _other_seeds(workspace, folder),
    )


def _other_seeds(workspace: Workspace, run: RunFolder) -> Iterator[tuple[str, FeatureActivations]]:
    """The runs of the same cell with other seeds, in the order of the experiment from this run on, round to it."""
    source = run.config.get("experiment")
    if source is None:  # an SAE from elsewhere
        return
    runs = [other for other in workspace.experiment(source).runs() if other.done]
    at = next((place for place, other in enumerate(runs) if other.id == run.id), 0)
    cell = {name: value for name, value in run.factors.items() if name != "seed"}
    for other in runs[at + 1 :] + runs[:at]:
        same = {name: value for name, value in other.factors.items() if name != "seed"} == cell
        if same and other.config["data"] == run.config["data"]:
            yield other.id, other.codes()


def codi_of(activations: Activations, device: str) -> Codi:
    """The CODI model that thought these activations. Raises UserError if it was another kind of model or is gone."""
    from sae.language_models.codi.loading import load

    model = activations.manifest.get("model") or {}
    if activations.manifest.get("positions") != "thoughts":
        raise UserError(
            f"{activations.name!r} are not the continuous thoughts of a CODI model: capture with --positions thoughts"
        )
    return load(str(model.get("name")), device=device)
