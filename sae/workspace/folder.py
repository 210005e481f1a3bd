"""The workspace folder: where things stand, and what is there. Files are the truth, `workspace.db` an index of them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import check_name, read_json
from sae.common.lazily import lazily
from sae.workspace.access import require_change
from sae.workspace.database import Database
from sae.workspace.experiments import ExperimentFolder
from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Activations
    from sae.workspace.jobs import Jobs

DEFAULT = Path("data/workspace")


@dataclass(frozen=True)
class Workspace:
    """A workspace at `root`. Nothing is written until something is put into it."""

    root: Path

    @classmethod
    def at(cls, folder: str | Path | None = None) -> Workspace:
        """The workspace at `folder`, else at `$SAE_WORKSPACE`, else `data/workspace`.

        Raises:
            UserError: if a file stands where the folder should be.
        """
        root = Path(folder or os.environ.get("SAE_WORKSPACE") or DEFAULT).absolute()
        if root.exists() and not root.is_dir():
            raise UserError(f"{root} is a file: a workspace is a folder")
        return cls(root)

    @lazily
    def database(self) -> Database:
        return Database(self.root / "workspace.db")

    @lazily
    def last_runs(self) -> dict[str, tuple[dict[str, int], pd.DataFrame]]:
        """`table`: what `runs_table` read last, and when the files of each run were written that it read."""
        return {}

    @lazily
    def jobs(self) -> Jobs:
        from sae.workspace.jobs import Jobs

        return Jobs(self)

    # activations

    def activations_folder(self, name: str) -> Path:
        return self.root / "activations" / check_name(name, "activations name")

    def activations(self) -> list[dict[str, Any]]:
        """The manifests of all activations, newest first. A folder whose manifest can't be read has an `error`."""
        found = []
        for folder in _folders(self.root / "activations"):
            if not (folder / "manifest.json").exists():
                continue
            try:
                found.append({**read_json(folder / "manifest.json"), "name": folder.name})
            except UserError as error:
                found.append({"name": folder.name, "error": str(error)})
        return sorted(found, key=lambda manifest: str(manifest.get("created", "")), reverse=True)

    def open_activations(self, name: str) -> Activations:
        """Raises UserError if there are none of that name, or they are broken."""
        from sae.capture.store import Activations

        folder = self.activations_folder(name)
        if not (folder / "manifest.json").exists():
            names = [manifest["name"] for manifest in self.activations()]
            here = f"here are: {', '.join(names)}" if names else "this workspace has none yet"
            raise UserError(f"there are no activations named {name!r}; {here}")
        return Activations.open(folder)

    # experiments and runs

    def experiment_folder(self, name: str) -> Path:
        return self.root / "experiments" / check_name(name, "experiment name")

    def experiments(self) -> list[ExperimentFolder]:
        """All experiments, newest first."""
        found = [
            ExperimentFolder(folder, self)
            for folder in _folders(self.root / "experiments")
            if (folder / "experiment.json").exists()
        ]
        return sorted(found, key=lambda experiment: experiment.created, reverse=True)

    def experiment(self, name: str) -> ExperimentFolder:
        """Raises UserError if there is no experiment of that name."""
        folder = self.experiment_folder(name)
        if not (folder / "experiment.json").exists():
            names = [experiment.name for experiment in self.experiments()]
            here = f"here are: {', '.join(names)}" if names else "this workspace has none yet"
            raise UserError(f"there is no experiment named {name!r}; {here}")
        return ExperimentFolder(folder, self)

    def run_folder(self, run: str) -> Path:
        return self.root / "runs" / check_name(run, "run id")

    def run(self, run: str) -> RunFolder:
        """The run of that id, or of an unambiguous beginning of one. Raises UserError if there is none."""
        folder = self.run_folder(run)
        if not (folder / "config.json").exists():
            ids = [f.name for f in _folders(self.root / "runs") if f.name.startswith(run)]
            if len(ids) != 1:
                found = f"{len(ids)} runs start so" if ids else "the Home page and 'experiment show' list run ids"
                raise UserError(f"there is no run {run!r}; {found}")
            folder = folder.with_name(ids[0])
        return RunFolder(folder)

    def run_ids(self) -> list[str]:
        return [f.name for f in _folders(self.root / "runs") if os.path.exists(f"{f}/config.json")]

    def runs_table(self) -> pd.DataFrame:
        """All runs, a line each: id, experiment, kind, activations, slice, status, factors and metrics as columns."""
        from sae.workspace.index import runs_table

        return runs_table(self)

    def delete_activations(self, name: str) -> None:
        """Raises UserError if it is missing or an experiment stands on it, or for a viewer."""
        require_change("deleting activations")
        users = [experiment.name for experiment in self.experiments() if experiment.activations == name]
        if users:
            raise UserError(f"activations {name!r} are used by {', '.join(users)}: delete those experiments first")
        folder = self.activations_folder(name)
        left = [folder.with_name(f".{name}.{kind}") for kind in ("partial", "shards")]  # by a stopped capture
        if not any(there.exists() for there in (folder, *left)):
            raise UserError(f"there are no activations named {name!r}")
        for there in (folder, *left):
            if there.exists():
                _remove(there)

    def delete_experiment(self, name: str) -> None:
        """Delete an experiment and its runs.

        Raises:
            UserError: while a job of it is under way, another experiment measures its runs, or for a viewer.
        """
        require_change("deleting an experiment")
        experiment = self.experiment(name)
        users = [other.name for other in self.experiments() if other.source == name]
        if users:
            raise UserError(f"the runs of {name!r} are measured by {', '.join(users)}: delete those experiments first")
        active = [job for job in self.jobs.active() if job.name == name]
        training = [job.id for job in active if job.kind != "map"]
        if training:
            raise UserError(f"experiment {name!r} is under way as job {training[0]}: cancel it first")
        for job in active:
            self.jobs.cancel(job.id)
        runs = experiment.run_ids()
        _remove(experiment.folder)
        for run in runs:
            self.delete_run(run)

    def delete_run(self, run: str) -> None:
        """Delete a run's folder. Raises UserError for a viewer."""
        require_change("deleting a run")
        folder = self.run_folder(run)
        if folder.exists():
            _remove(folder)

    def disk_used(self) -> dict[str, int]:
        """Bytes by kind: activations, experiments, runs, jobs."""
        return {
            kind: sum(file.stat().st_size for file in (self.root / kind).rglob("*") if file.is_file())
            for kind in ("activations", "experiments", "runs", "jobs")
        }


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith("."))
    except FileNotFoundError:
        return []


def _remove(folder: Path) -> None:
    """Move aside first, so that nobody sees half a folder while it goes."""
    aside = folder.with_name(f".{folder.name}.deleted")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)
