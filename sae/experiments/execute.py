"""Runs an experiment's plan: train on a slice, encode every row, measure, and hand the results to a store."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from sae.capture.statistics import NEAR_CONSTANT
from sae.common.errors import UserError
from sae.common.progress import Progress
from sae.evaluation.baselines import PCA, baselines
from sae.evaluation.binary_codes import binary_metrics, row_figures
from sae.evaluation.reconstruction import Codes, encode_rows, ev_interval, split_metrics
from sae.experiments.plan import Plan, RunPlan
from sae.models.base import SAE
from sae.models.binary import Binary
from sae.training.group import groups
from sae.training.loop import train
from sae.training.rows import Rows
from sae.training.training import Trained, checkpoint_step

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from sae.capture.store import Slice
    from sae.training.config import TrainingConfig


class Result(NamedTuple):
    """A finished run, as a store keeps it."""

    model: SAE
    codes: Codes
    metrics: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    baselines: dict[str, Any]
    history: pd.DataFrame | None
    last_fired: np.ndarray | None
    training: dict[str, float]
    train_seconds: float
    seconds: float


class Store(Protocol):
    """Where results go. The workspace has one that writes folders."""

    def done(self, run: str) -> bool: ...
    def use(self, data: Data) -> None: ...
    def begin(self, run: RunPlan) -> None: ...
    def checkpoint(self, run: str) -> Path: ...
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
        self.rows = Rows(self.parts["train"])
        self.train_mean = rows[self.splits["train"]].astype(np.float64).mean(0)
        self.facts = _facts(rows[self.splits["train"]].astype(np.float64), self.train_mean)
        self.examples = piece.rows["example"].to_numpy()
        self._pca: PCA | None = None

    @property
    def pca(self) -> PCA:
        if self._pca is None:
            self._pca = PCA(self.parts["train"])
        return self._pca

    def principal(self, configs: Sequence[TrainingConfig]) -> Tensor | None:
        """Principal directions, if a run starts from them."""
        starts = [getattr(config, "decoder_init", "") for config in configs]
        return self.pca.components if "data" in starts else None


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

    Runs of one slice are trained in groups (`sae.training.group`): on a GPU several at once, on a CPU one by one.

    Args:
        open_slice: the data of a run; called once for runs of one slice that follow each other.
    """
    total = len(plan.runs)
    finished = 0
    for _, following in itertools.groupby(plan.runs, key=lambda run: (run.layer, run.position)):
        runs = list(following)
        wanted = [run for run in runs if not store.done(run.id)]
        finished += len(runs) - len(wanted)
        progress.update(finished, total, "runs")
        if not wanted:
            continue
        data = open_slice(wanted[0])
        store.use(data)
        started = [checkpoint_step(store.checkpoint(run.id)) for run in wanted]
        for numbers in groups([run.config for run in wanted], data.device, started):
            members = [wanted[number] for number in numbers]
            _train_group(members, data, store, Counted(progress, finished, total))
            finished += len(members)
            progress.update(finished, total, "runs")
        del data  # the rows of this slice need not stay while the next are read


class Counted(NamedTuple):
    """Progress of the runs before the present group, so that it can tell its own."""

    progress: Progress
    finished: int
    total: int

    def update(self, fraction: float, members: int) -> None:
        self.progress.update(self.finished + fraction * members, self.total, "runs")


def _train_group(members: list[RunPlan], data: Data, store: Store, progress: Counted) -> None:
    for run in members:
        store.begin(run)

    def watch(member: int, fraction: float, history: list[dict]) -> None:
        store.curves(members[member].id, fraction, history)
        progress.update(fraction, len(members))

    began = time.monotonic()
    try:
        trained = train(
            [run.config for run in members],
            data.rows,
            data.parts["validation"],
            principal=data.principal([run.config for run in members]),
            checkpoints=[store.checkpoint(run.id) for run in members],
            watch=watch,
        )
    except (UserError, RuntimeError, MemoryError) as error:
        said = _out_of_memory(error)
        if said and len(members) > 1:  # together they need more than one by one
            for number, run in enumerate(members):
                _train_group([run], data, store, progress._replace(finished=progress.finished + number))
            return
        for run in members:
            store.fail(run, said or str(error).splitlines()[0])
        return
    took = (time.monotonic() - began) / len(members)
    for run, result in zip(members, trained, strict=True):
        try:
            store.finish(run, _measured(run, result, data, took))
        except (UserError, RuntimeError, MemoryError) as error:
            store.fail(run, _out_of_memory(error) or str(error).splitlines()[0])


def _out_of_memory(error: Exception) -> str:
    """What to say if memory ran out, else nothing. An error that is neither that nor the user's is raised on."""
    if isinstance(error, UserError):
        return ""
    said = str(error).lower()
    if not isinstance(error, MemoryError) and "out of memory" not in said and "alloc" not in said:
        raise error
    return str(error).splitlines()[0] if said else "out of memory"


def _measured(run: RunPlan, trained: Trained, data: Data, took: float) -> Result:
    if not all(bool(torch.isfinite(p).all()) for p in trained.model.parameters()):
        raise UserError(f"training diverged at lr {run.config.lr}: the weights are not finite; take a smaller lr")
    return measure(
        trained.model,
        data,
        history=trained.history,
        last_fired=trained.last_fired.cpu().numpy(),
        training=trained.summary,
        train_seconds=trained.seconds,
        before=took,
    )


def measure(
    model: SAE,
    data: Data,
    *,
    history: pd.DataFrame | None = None,
    last_fired: np.ndarray | None = None,
    training: dict[str, float] | None = None,
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
    if isinstance(model, Binary):
        _add_binary_metrics(metrics, model, codes, data)
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
        training or {},
        train_seconds,
        before + time.monotonic() - started,
    )


def _add_binary_metrics(metrics: dict[str, dict[str, float]], model: Binary, codes: Codes, data: Data) -> None:
    figures = row_figures(model, data.slice.x, data.train_mean, data.device)
    counts = np.diff(codes.indptr)
    for name in metrics:
        rows = data.splits.get(name, np.arange(len(counts)))
        chosen = np.zeros(len(counts), bool)
        chosen[rows] = True
        use = np.bincount(codes.features[np.repeat(chosen, counts)], minlength=model.d_sae)
        metrics[name] |= binary_metrics(figures, rows, use, model)
