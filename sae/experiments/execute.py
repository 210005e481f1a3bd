"""Runs an experiment's plan: train on a slice, encode every row, measure, and hand the results to a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from sae.capture.statistics import NEAR_CONSTANT
from sae.common.errors import UserError
from sae.common.progress import Progress
from sae.evaluation.baselines import PCA, baselines
from sae.evaluation.reconstruction import Codes, encode_rows, ev_interval, split_metrics
from sae.experiments.plan import Plan, RunPlan
from sae.models.base import SAE
from sae.training.loop import train

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from sae.capture.store import Slice


class Result(NamedTuple):
    """A finished run, as a store keeps it."""

    model: SAE
    codes: Codes
    metrics: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    baselines: dict[str, Any]
    history: pd.DataFrame | None
    last_fired: np.ndarray | None
    train_seconds: float
    seconds: float


class Store(Protocol):
    """Where results go. The workspace has one that writes folders."""

    def done(self, run: str) -> bool: ...
    def use(self, data: Data) -> None: ...
    def begin(self, run: RunPlan) -> None: ...
    def checkpoint(self, run: str) -> Path | None: ...
    def curves(self, run: str, fraction: float, history: list[dict]) -> None: ...
    def finish(self, run: RunPlan, result: Result) -> None: ...
    def fail(self, run: RunPlan, error: str) -> None: ...


class Data:
    """One slice on the device: float32 rows, splits, and what every run on it shares.

    Raises:
        UserError: if the slice has no training rows.
    """

    def __init__(self, piece: Slice, device: str) -> None:
        self.slice, self.device = piece, device
        self.splits: dict[str, np.ndarray] = {
            "train": piece.train_rows,
            "validation": piece.validation_rows,
            "test": piece.test_rows,
        }
        if len(self.splits["train"]) < 2:
            raise UserError(f"{piece.title} of {piece.activations.name!r} has fewer than two training rows")
        rows = np.asarray(piece.x)
        self.parts: dict[str, Tensor] = {
            name: torch.from_numpy(rows[chosen].astype(np.float32)).to(device) for name, chosen in self.splits.items()
        }
        self.train_mean = rows[self.splits["train"]].astype(np.float64).mean(0)
        self.facts = _facts(rows[self.splits["train"]].astype(np.float64), self.train_mean)
        self.examples = piece.rows["example"].to_numpy()
        self._pca: PCA | None = None

    @property
    def pca(self) -> PCA:
        if self._pca is None:
            self._pca = PCA(self.parts["train"])
        return self._pca


def _facts(rows: np.ndarray, mean: np.ndarray) -> dict[str, Any]:
    """What any SAE on these rows meets: their mean's norm, their spread around it, and whether they hardly differ.

    Where all rows are nearly one vector, explained variance says little, however high it is.
    """
    centred = float(np.sqrt(((rows - mean) ** 2).sum(axis=1).mean()))
    norm = float(np.linalg.norm(mean))
    return {
        "mean_norm": norm,
        "centred_norm": centred,
        "near_constant": centred < NEAR_CONSTANT * norm or centred <= 1e-9 * norm,
    }


def execute(plan: Plan, open_slice: Callable[[RunPlan], Data], store: Store, progress: Progress) -> None:
    """Train and measure every run of the plan that is not done; one that fails is recorded, and the others go on.

    Args:
        open_slice: the data of a run; called once for runs of one slice that follow each other.
    """
    total = len(plan.runs)
    data: Data | None = None
    at: tuple[int | None, int | None] = (None, None)
    for number, run in enumerate(plan.runs):
        if store.done(run.id):
            progress.update(number + 1, total, "runs")
            continue
        if data is None or (run.layer, run.position) != at:
            data = None  # the rows of the slice before need not stay while the next are read
            data, at = open_slice(run), (run.layer, run.position)
            store.use(data)
        store.begin(run)
        progress.update(number, total, "runs")

        def watch(fraction: float, history: list[dict], run: RunPlan = run, number: int = number) -> None:
            store.curves(run.id, fraction, history)
            progress.update(number + fraction, total, "runs")

        try:
            store.finish(run, train_and_measure(run, data, store.checkpoint(run.id), watch))
        except (UserError, RuntimeError, MemoryError) as error:
            if (
                isinstance(error, RuntimeError)
                and "out of memory" not in str(error).lower()
                and "alloc" not in str(error).lower()
            ):
                raise
            store.fail(run, str(error).splitlines()[0] if str(error) else "out of memory")
        progress.update(number + 1, total, "runs")


def train_and_measure(run: RunPlan, data: Data, checkpoint: Path | None, watch: Any) -> Result:
    """One run from its configuration to its metrics."""
    started = time.monotonic()
    principal = data.pca.components if run.config.decoder_init == "data" else None
    trained = train(
        run.config,
        data.parts["train"],
        data.parts["validation"],
        principal=principal,
        checkpoint=checkpoint,
        watch=watch,
    )
    if not all(bool(torch.isfinite(p).all()) for p in trained.model.parameters()):
        raise UserError(f"training diverged at lr {run.config.lr}: the weights are not finite; take a smaller lr")
    return measure(
        trained.model,
        data,
        history=trained.history,
        last_fired=trained.last_fired.cpu().numpy(),
        train_seconds=trained.seconds,
        before=time.monotonic() - started,
    )


def measure(
    model: SAE,
    data: Data,
    *,
    history: pd.DataFrame | None = None,
    last_fired: np.ndarray | None = None,
    train_seconds: float = 0.0,
    before: float = 0.0,
) -> Result:
    """Codes of every row, metrics by split, bootstrap intervals and baselines of an SAE on `data`.

    Raises:
        UserError: if the SAE takes rows of another width.
    """
    started = time.monotonic()
    x = data.slice.x
    if model.d_in != x.shape[1]:
        raise UserError(f"the SAE takes rows of {model.d_in} dimensions, these activations have {x.shape[1]}")
    codes, errors = encode_rows(model, x, data.train_mean, data.device)
    metrics = split_metrics(codes, errors, data.splits, model.d_in, model.d_sae)
    intervals = {
        name: {"ev_total": ev_interval(errors.squared_error[rows], errors.squared_spread[rows], data.examples[rows])}
        for name, rows in data.splits.items()
        if len(rows)
    }
    k = getattr(model, "k", None) or max(1, round(metrics["train"]["l0"]))
    compared = baselines(data.parts["train"], data.parts, data.pca, model.d_sae, min(int(k), model.d_sae))
    return Result(
        model,
        codes,
        metrics,
        intervals,
        compared,
        history,
        last_fired,
        train_seconds,
        before + time.monotonic() - started,
    )
