"""One experiment on disk: its specification, its runs, and the results read off them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import read_json, read_json_once, read_parquet
from sae.common.lazily import lazily
from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from sae.experiments.plan import Kind
    from sae.workspace.folder import Workspace

RUN_STATUSES = ("queued", "running", "done", "failed", "cancelled")


@dataclass(frozen=True)
class ExperimentFolder:
    """Reads an experiment: `experiment.json` has kind, specification, factors and the runs that it consists of."""

    folder: Path
    workspace: Workspace

    @property
    def name(self) -> str:
        return self.folder.name

    @lazily
    def content(self) -> dict[str, Any]:
        return read_json_once(self.folder / "experiment.json")

    @property
    def kind(self) -> str:
        return self.content["kind"]

    @lazily
    def trains(self) -> Kind | None:
        """What it is as data: a built-in kind, or one that was defined with it; None for a measurement, or a kind that
        this version does not know.
        """
        from sae.experiments import kind_of_spec

        try:
            return kind_of_spec({"kind": self.kind, "definition": self.content.get("spec", {}).get("definition")})
        except UserError:
            return None

    @property
    def created(self) -> str:
        return str(self.content.get("created", ""))

    @property
    def spec(self) -> dict[str, Any]:
        """What `python -m sae experiment run` was given."""
        return self.content["spec"]

    @property
    def factors(self) -> dict[str, list[Any]]:
        """The varied factors and their values, in order."""
        return self.content["factors"]

    @property
    def activations(self) -> str:
        return self.content.get("activations") or self.content["spec"]["activations"]

    @property
    def source(self) -> str | None:
        """The experiment whose runs this one measures; None if it trains its own."""
        return self.content["spec"].get("source")

    def measured_runs(self) -> list[str]:
        """The runs of `source` that this measurement is about; empty for an experiment that trains."""
        return [run["id"] for run in self.content.get("measured", [])]

    def part_folder(self, run: str) -> Path:
        """Where a measurement keeps what it found of a run."""
        return self.folder / "parts" / run

    def part(self, run: str, table: str) -> pd.DataFrame:
        """A table that a measurement made of a run. Raises UserError if there is none."""
        path = self.part_folder(run) / f"{table}.parquet"
        if not path.exists():
            raise UserError(f"experiment {self.name!r} has no {table} of run {run}: it is not finished")
        return read_parquet(path)

    def part_notes(self, run: str) -> dict[str, Any]:
        """Further facts that a measurement found of a run; empty if there are none."""
        path = self.part_folder(run) / "notes.json"
        return read_json(path) if path.exists() else {}

    def part_results(self, run: str) -> list[dict[str, Any]] | None:
        """What a measurement found of a run: split, metrics, interval, n; None before it was measured."""
        path = self.part_folder(run) / "results.json"
        return read_json(path)["results"] if path.exists() else None

    def run_ids(self) -> list[str]:
        return [run["id"] for run in self.content["runs"]]

    @property
    def begun(self) -> bool:
        """Whether one of its runs is trained or in training."""
        return any(os.path.exists(f"{self.workspace.root}/runs/{run}/config.json") for run in self.run_ids())

    @lazily
    def _folders(self) -> dict[str, RunFolder]:
        """By id, there or not. They keep what they read: a sweep has a thousand, and a page asks for each often."""
        runs = self.workspace.root / "runs"
        return {run: RunFolder(runs / run) for run in self.run_ids()}

    def runs(self) -> list[RunFolder]:
        """Those runs whose folder exists; a run that waits has none yet."""
        return [run for run in self._folders.values() if os.path.exists(f"{run.folder}/config.json")]

    def first_done(self) -> RunFolder | None:
        """The first of its runs that is finished."""
        return next((run for run in self._folders.values() if run.done), None)

    def runs_table(self) -> pd.DataFrame:
        """A line a run: `id`, `status`, `fraction` (of its training), `seconds`, `error`, and a column per factor."""
        import pandas as pd

        if self.source is not None:
            return self._parts_table()
        job = self.workspace.jobs.latest(self.name)
        cells = job.progress().get("cells", {}) if job else {}
        lines = []
        for listed in self.content["runs"]:
            folder = self._folders[listed["id"]]
            error = None if folder.done else folder.error
            seconds = folder.results["seconds"] if folder.done else None
            status, fraction = _status(folder, error, job.status if job else None, cells.get(listed["id"], {}))
            lines.append(
                {"id": listed["id"], "status": status, "fraction": fraction, "seconds": seconds, "error": error}
                | listed["factors"]
            )
        return pd.DataFrame(lines)

    def results(self, split: str | None = None) -> pd.DataFrame:
        """Long: a line per finished run and split, with `id`, `split`, the factors and the metrics as columns; empty
        before the first. The job leaves the same table as results.parquet for other tools.

        Args:
            split: lines of this one alone.
        """
        import pandas as pd

        lines = []
        for listed in self.content.get("measured", []):
            for found in self.part_results(listed["id"]) or []:
                if split not in (None, found["split"]):
                    continue
                lines.append(
                    {"id": listed["id"], "split": found["split"], "n": found["n"]}
                    | listed["factors"]
                    | found["metrics"]
                )
        for listed in self.content["runs"]:
            folder = self._folders[listed["id"]]
            if folder.done:
                measured = folder.metrics
                for name in measured if split is None else {split} & measured.keys():
                    lines.append({"id": folder.id, "split": name} | listed["factors"] | measured[name])
        return pd.DataFrame(lines)

    def _parts_table(self) -> pd.DataFrame:
        """As `runs_table`, of the runs that are measured."""
        import pandas as pd

        job = self.workspace.jobs.latest(self.name)
        cells = job.progress().get("cells", {}) if job else {}
        lines = []
        for listed in self.content["measured"]:
            part = self.part_folder(listed["id"])
            error = read_json(part / "error.json")["error"] if (part / "error.json").exists() else None
            if (part / "results.json").exists():
                status, error = "done", None
            elif error is not None:
                status = "failed"
            elif job is not None and job.active:
                status = cells.get(listed["id"], {}).get("status", "queued")
            else:
                status = "cancelled"
            fraction = float(status == "done")
            lines.append(
                {"id": listed["id"], "status": status, "fraction": fraction, "seconds": None, "error": error}
                | listed["factors"]
            )
        return pd.DataFrame(lines)


def _status(folder: RunFolder, error: str | None, job: str | None, cell: dict[str, Any]) -> tuple[str, float]:
    if folder.done:
        return "done", 1.0
    if error is not None:
        return "failed", 0.0
    fraction = float(cell.get("fraction", 0.0))
    if job == "running":
        return ("running" if cell.get("status") == "running" else "queued"), fraction
    if job == "queued":
        return "queued", fraction
    return "cancelled", fraction
