"""Writes runs into the workspace: the store that experiments hand their results to."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.capture.several_layers import SeveralLayers
from sae.common.files import file_sha256, write_json, write_parquet, write_tensors
from sae.experiments.targets import target_slice
from sae.workspace.processes import started

if TYPE_CHECKING:
    from sae.capture.store import Slice
    from sae.experiments.execute import Data, Result
    from sae.experiments.plan import RunPlan
    from sae.workspace.child import JobProgress
    from sae.workspace.folder import Workspace

CURVE_SECONDS = 1.0


def now() -> str:
    """This moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(device: str) -> dict[str, Any]:
    """What a run depends on beside its configuration: versions, device, threads."""
    import torch

    from sae import __version__
    from sae.common.devices import available

    title = next((d.title for d in available() if d.name == device), device)
    return {
        "sae_workbench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{package: version(package) for package in ("torch", "numpy", "transformers")},
        "device": device,
        "device_name": title,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "processes": started(),
    }


class WorkspaceStore:
    """Keeps the runs of one experiment. `use` says which slice the following ones are trained on.

    Args:
        progress: the job's, which shows each run's state as a cell; None outside of a job.
    """

    def __init__(
        self, workspace: Workspace, kind: str, experiment: str | None, device: str, progress: JobProgress | None = None
    ) -> None:
        self.workspace, self.kind, self.experiment, self.progress = workspace, kind, experiment, progress
        self.environment = environment(device)
        self.data: Data
        self._last_curve: dict[str, float] = {}

    def use(self, data: Data) -> None:
        """The slice that the following runs are trained on."""
        self.data = data

    def folder(self, run: str) -> Path:
        return self.workspace.run_folder(run)

    def done(self, run: str) -> bool:
        done = (self.folder(run) / "metrics.json").exists()
        if done:
            self._cell(run, status="done", fraction=1.0)
        return done

    def checkpoint(self, run: str) -> Path:
        return self.folder(run) / "checkpoint.safetensors"

    def begin(self, run: RunPlan) -> None:
        self.write_config(
            run.id,
            run.factors,
            {
                "architecture": run.config.model_architecture,
                "d_in": self.data.slice.x.shape[1],
                **run.config.model(),
            },
            run.config.as_dict(),
            target_slice(self.data.slice, run.config),
        )
        (self.folder(run.id) / "error.json").unlink(missing_ok=True)
        self._cell(run.id, status="running", fraction=0.0)

    def write_config(
        self,
        run: str,
        factors: dict[str, Any],
        model: dict[str, Any],
        training: dict[str, Any] | None,
        target: Slice | None = None,
        **more: Any,
    ) -> None:
        """config.json: what the run is, what it is trained on, and where.

        Args:
            target: what it reconstructs, where that is another slice than it reads.
        """
        piece = self.data.slice
        write_json(
            self.folder(run) / "config.json",
            {
                "format": 1,
                "id": run,
                "kind": self.kind,
                "experiment": self.experiment,
                "created": now(),
                "factors": factors,
                "model": model,
                "training": training,
                "data": {
                    "activations": piece.activations.name,
                    "sha256": piece.activations.manifest["sha256"],
                    "layer": piece.layer,
                    "position": piece.position,
                    **({"layers": list(piece.layers)} if isinstance(piece, SeveralLayers) else {}),
                    "start": piece.start,
                    "stop": piece.stop,
                    "rows": {name: len(rows) for name, rows in self.data.splits.items() if len(rows)},
                    **({"target": {"layer": target.layer, "position": target.position}} if target else {}),
                    **({"chunk_rows": training["chunk_rows"]} if training and "chunk_rows" in training else {}),
                },
                "environment": self.environment,
                **more,
            },
        )

    def curves(self, run: str, fraction: float, history: list[dict]) -> None:
        """Live curves, at most once a second for each run; the finished table is written at the end."""
        if time.monotonic() - self._last_curve.get(run, 0.0) < CURVE_SECONDS or not history:
            return
        self._last_curve[run] = time.monotonic()
        import pandas as pd

        table = pd.DataFrame(history).astype({"validation_ev_total": float})
        write_parquet(self.folder(run) / "history.parquet", table)
        seen = table["validation_ev_total"].dropna()
        self._cell(
            run,
            fraction=round(fraction, 4),
            loss=history[-1]["loss"],
            dead=history[-1]["dead_share"],
            ev_total=float(seen.iloc[-1]) if len(seen) else history[-1]["ev_total_batch"],
        )

    def finish(self, run: RunPlan, result: Result) -> None:
        self.write_result(run.id, result)
        self.checkpoint(run.id).unlink(missing_ok=True)

    def write_result(self, run: str, result: Result) -> None:
        """Everything of a finished run; metrics.json comes last, so its being there means that the rest is."""
        from sae.analysis.codes_file import write_codes
        from sae.analysis.features import feature_table
        from sae.analysis.layer_norms import directions, layer_columns, readings
        from sae.analysis.pairs import PAIR_ENTRIES, correlated_pairs

        folder = self.folder(run)
        weights = {name: value.detach().cpu().float() for name, value in result.model.state_dict().items()}
        write_tensors(folder / "weights.safetensors", weights)
        codes = write_codes(folder / "codes.safetensors", *result.codes, result.model.d_sae)
        if result.history is not None:
            write_parquet(folder / "history.parquet", result.history)
        rows = self.data.slice.rows
        arrays = {name: value.numpy() for name, value in weights.items()}
        W_dec = directions(arrays)
        features = feature_table(
            codes,
            split=rows["split"].to_numpy(),
            example=rows["example"].to_numpy(),
            W_dec=W_dec,
            W_enc=readings(arrays),
        )
        if isinstance(self.data.slice, SeveralLayers):
            features = features.join(layer_columns(arrays, self.data.slice.layers))
        if result.last_fired is not None:
            features["last_fired_row"] = result.last_fired
        write_parquet(folder / "features.parquet", features)
        paired = codes.sample(PAIR_ENTRIES)
        pairs = correlated_pairs(paired, W_dec=W_dec)
        write_parquet(folder / "pairs.parquet", pairs.assign(n_rows=paired.n_rows))
        write_json(
            folder / "metrics.json",
            {
                "format": 1,
                "metrics": result.metrics,
                "intervals": result.intervals,
                "baselines": result.baselines,
                "training": result.training,
                "slice": result.facts or self.data.facts,
                "train_seconds": round(result.train_seconds, 3),
                "seconds": round(result.seconds, 3),
                "finished": now(),
                "sha256": {name: file_sha256(folder / name) for name in ("weights.safetensors", "codes.safetensors")},
            },
        )
        validation = result.metrics.get("validation") or result.metrics["all"]
        self._cell(run, status="done", fraction=1.0, ev_total=validation["ev_total"], dead=validation["dead"])

    def fail(self, run: RunPlan, error: str) -> None:
        write_json(self.folder(run.id) / "error.json", {"error": error, "time": now()})
        self._cell(run.id, status="failed", error=error)

    def _cell(self, run: str, **state: Any) -> None:
        if self.progress is not None:
            self.progress.cell(run, **state)
