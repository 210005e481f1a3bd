"""Evaluations of single runs: kept in the run's folder by what was evaluated, and made by a job where they are not.

`runs/ID/evaluations/NAME-KEY/` holds results.json, notes.json and tables as a measurement leaves them. The key is a
digest of the evaluation and its version, its settings (files by their content), the run's weights and activations.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json, read_parquet, write_json

if TYPE_CHECKING:
    import pandas as pd

    from sae.experiments.measurement import Measurement
    from sae.workspace.child import JobProgress
    from sae.workspace.folder import Workspace
    from sae.workspace.jobs import Job
    from sae.workspace.runs import RunFolder

#: Measurements that judge a single run, in the order in which they are shown.
NAMES = ("core", "sparse-probing", "scr", "tpp", "absorption", "first-letter")


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation of a run has found, or why it could not."""

    run: RunFolder
    name: str
    folder: Path

    @property
    def error(self) -> str | None:
        """Why it failed, in one line; None if it did not."""
        path = self.folder / "error.json"
        return None if self.done or not path.exists() else str(read_json(path)["error"])

    @property
    def done(self) -> bool:
        return (self.folder / "results.json").exists()

    @property
    def content(self) -> dict[str, Any]:
        """results.json: `results`, `settings`, `finished`, `seconds`, `environment`."""
        return read_json(self.folder / "results.json")

    @property
    def results(self) -> list[dict[str, Any]]:
        """`split`, `metrics`, `interval`, `n` of each split."""
        return self.content["results"]

    @property
    def notes(self) -> dict[str, Any]:
        path = self.folder / "notes.json"
        return read_json(path) if path.exists() else {}

    def tables(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.parquet"))

    def table(self, name: str) -> pd.DataFrame:
        """Raises UserError if there is none of that name."""
        path = self.folder / f"{name}.parquet"
        if not path.exists():
            raise UserError(f"evaluation {self.name} of run {self.run.id} has no table {name!r}")
        return read_parquet(path)


def kinds() -> dict[str, Measurement]:
    """The evaluations there are, by name."""
    from sae.experiments import MEASUREMENTS

    return {name: MEASUREMENTS[name] for name in NAMES if name in MEASUREMENTS}


def settings_of(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All settings of each evaluation: a given one goes to every evaluation that has it. Files get absolute paths.

    Raises:
        UserError: for an unknown evaluation, a setting that none of them has, or a value that it can't take.
    """
    known = kinds()
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"evaluation {unknown[0]!r} is not known: take one of {', '.join(known)}")
    for setting in given:
        if not any(setting in known[name].settings for name in names):
            there = sorted({key for name in names for key in known[name].settings})
            raise UserError(f"{setting!r} is not a setting of {', '.join(names)}; settings are: {', '.join(there)}")
    found = {}
    for name in names:
        own = {setting: value for setting, value in given.items() if setting in known[name].settings}
        found[name] = {key: _absolute(value) for key, value in known[name].settings_of(own).items()}
    return found


def evaluation_of(run: RunFolder, name: str, settings: Mapping[str, Any]) -> Evaluation:
    """Where the evaluation with these settings (all of them, `settings_of`) is kept, whether it is there or not.

    Raises:
        UserError: if the run is not finished.
    """
    if not run.done:
        raise UserError(f"run {run.id} is not finished: evaluate it when it is")
    data = run.config["data"]
    known = run.results.get("sha256", {}).get("weights.safetensors")
    about = {
        "evaluation": name,
        "version": kinds()[name].version,
        "settings": dict(settings),
        "files": {key: file_sha256(Path(value)) for key, value in settings.items() if _is_file(value)},
        "weights": known or file_sha256(run.folder / "weights.safetensors"),
        "activations": [data["sha256"], data.get("layers") or data["layer"], data["position"]],
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return Evaluation(run, name, run.folder / "evaluations" / f"{name}-{digest[:16]}")


def evaluations(run: RunFolder, name: str) -> list[Evaluation]:
    """All of that name that were made of the run, finished or failed, the newest first."""
    found = [Evaluation(run, name, folder) for folder in (run.folder / "evaluations").glob(f"{name}-{'?' * 16}")]
    made = [(_time(one), one) for one in found if one.done or one.error is not None]
    return [one for _, one in sorted(made, key=lambda pair: pair[0], reverse=True)]


def start_evaluations(
    workspace: Workspace, runs: Sequence[str], wanted: Mapping[str, Mapping[str, Any]], *, device: str = "auto"
) -> Job | None:
    """Queue what is not kept yet of some evaluations (`settings_of`) of some runs; None if all of it is.

    Raises:
        UserError: if a run is unknown or not finished.
    """
    from sae.workspace.start import checked_device

    ids = list(dict.fromkeys(workspace.run(run).id for run in runs))
    if not ids:
        raise UserError("no run was named")
    missing = {
        name: dict(settings)
        for name, settings in wanted.items()
        if not all(evaluation_of(workspace.run(run), name, settings).done for run in ids)
    }
    if not missing:
        return None
    spec = {"runs": ids, "evaluations": missing}
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    return workspace.jobs.enqueue("evaluation", f"{ids[0][:60]}-{digest[:8]}", spec, device=checked_device(device))


def under_way(workspace: Workspace, run: RunFolder) -> dict[str, Job]:
    """The active job of each evaluation of the run."""
    found: dict[str, Job] = {}
    for job in workspace.jobs.active():
        if job.kind == "evaluation":
            spec = job.spec
            if run.id in spec["runs"]:
                found |= {name: job for name in spec["evaluations"] if name not in found}
    return found


def evaluate(workspace: Workspace, spec: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Evaluate every run that is not yet; one that can't be is recorded, and the others go on.

    Args:
        spec: `runs` (ids) and `evaluations` (settings by name).

    Raises:
        UserError: with the first error, if all failed.
    """
    from sae.workspace.measurements import Within, keep

    work = [(name, run) for name in spec["evaluations"] for run in spec["runs"]]
    known = kinds()
    errors: list[str] = []
    for number, (name, run) in enumerate(work):
        settings = spec["evaluations"][name]
        evaluation = evaluation_of(workspace.run(run), name, settings)
        if evaluation.done:
            continue
        progress.update(number, len(work), known[name].title.lower())
        started = time.monotonic()
        try:
            case = _case(workspace, evaluation.run, device)
            inner = progress if len(work) == 1 else Within(progress, number, len(work))
            found = known[name].of(case, settings, inner)
        except UserError as error:
            errors.append(str(error))
            write_json(evaluation.folder / "error.json", {"error": str(error), "settings": settings})
            continue
        keep(evaluation.folder, found, device, settings=settings, seconds=round(time.monotonic() - started, 2))
    progress.update(len(work), len(work), "evaluated")
    if len(errors) == len(work):
        raise UserError(errors[0])


def _case(workspace: Workspace, run: RunFolder, device: str) -> Any:
    from sae.workspace.measurements import case_of

    data = run.config["data"]
    activations = workspace.open_activations(data["activations"])
    if activations.manifest["sha256"] != data["sha256"]:
        raise UserError(
            f"activations {data['activations']!r} are not those that run {run.id} was trained on: it can't be evaluated"
        )
    return case_of(workspace, run.id, activations, _codi_of(activations.folder, device), device)


@cache
def _codi_of(folder: Path, device: str) -> Any:
    """Loads the CODI model of some activations, once for all runs over them."""
    from sae.capture.store import Activations
    from sae.workspace.measurements import codi_of

    return cache(lambda: codi_of(Activations.open(folder), device))


def _time(evaluation: Evaluation) -> float:
    name = "results.json" if evaluation.done else "error.json"
    return (evaluation.folder / name).stat().st_mtime


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and Path(value).expanduser().is_file()


def _absolute(value: Any) -> Any:
    return str(Path(value).expanduser().absolute()) if _is_file(value) else value
