"""Runs an experiment's plan: train on a slice, encode every row, measure, and hand the results to a store."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from sae.analysis.layer_norms import directions
from sae.common.errors import UserError
from sae.common.memory import free_memory
from sae.common.progress import Progress
from sae.evaluation.binary_codes import binary_metrics, row_figures
from sae.evaluation.by_layer import layer_metrics
from sae.evaluation.reconstruction import Codes, encode_rows, ev_interval, split_metrics
from sae.evaluation.redundancy import redundancy
from sae.experiments.data import Data, Target
from sae.experiments.plan import Plan, RunPlan
from sae.models.base import SAE
from sae.models.binary import Binary
from sae.models.crosscoder import Crosscoder
from sae.training.data_parallel import lead
from sae.training.group import build, groups, is_plain_topk
from sae.training.loop import step_through
from sae.training.probe import run_bytes
from sae.training.streamed_rows import RESIDENT_SHARE
from sae.training.training import Trained, Training, Watch, begun

if TYPE_CHECKING:
    import pandas as pd


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
    facts: dict[str, Any] | None = None
    """Of the rows that a transcoder reconstructs (`Data.facts`)."""


class Store(Protocol):
    """Where results go. The workspace has one that writes folders."""

    def done(self, run: str) -> bool: ...
    def use(self, data: Data) -> None: ...
    def begin(self, run: RunPlan) -> None: ...
    def checkpoint(self, run: str) -> Path: ...
    def curves(self, run: str, fraction: float, history: list[dict]) -> None: ...
    def finish(self, run: RunPlan, result: Result) -> None: ...
    def fail(self, run: RunPlan, error: str) -> None: ...


def execute(plan: Plan, open_slice: Callable[[RunPlan], Data], store: Store, progress: Progress) -> None:
    """Train and measure every run of the plan that is not done; one that fails is recorded, and the others go on.

    Runs of one slice are trained in groups (`sae.training.group`): on a GPU several at once, on a CPU one by one. Where
    their rows are streamed, groups that see the same batches take turns, so that the rows are read once for all.

    Args:
        open_slice: the data of a run; called once for runs of one slice that follow each other.
    """
    total = len(plan.runs)
    finished = 0
    for _, following in itertools.groupby(plan.runs, key=lambda run: run.place_key):
        runs = list(following)
        wanted = [run for run in runs if not store.done(run.id)]
        finished += len(runs) - len(wanted)
        progress.update(finished, total, "runs")
        if not wanted:
            continue
        data = open_slice(wanted[0])
        store.use(data)
        before = [begun(store.checkpoint(run.id)) for run in wanted]
        decided = [
            _decided(run, data, checkpoint.chunk_rows if checkpoint else None)
            for run, checkpoint in zip(wanted, before, strict=True)
        ]
        started = [checkpoint.step if checkpoint else 0 for checkpoint in before]
        grouped = [
            [decided[number] for number in numbers]
            for numbers in groups([run.config for run in decided], data.device, started)
        ]
        for together in _together(grouped, data):
            _train(together, data, store, Counted(progress, finished, total))
            finished += sum(map(len, together))
            progress.update(finished, total, "runs")
        del data  # the rows of this slice need not stay while the next are read


def _decided(run: RunPlan, data: Data, begun_with: int | None) -> RunPlan:
    """The run with the order of its rows written out: the one it began with, else what is asked for or fits."""
    chunk_rows = run.config.chunk_rows or data.chunk_rows if begun_with is None else begun_with
    return replace(run, config=replace(run.config, chunk_rows=chunk_rows))


def _together(grouped: Sequence[list[RunPlan]], data: Data) -> list[list[list[RunPlan]]]:
    """Groups that take turns on the same buffers of streamed rows, as many as half of the free memory holds."""
    found: list[list[list[RunPlan]]] = []
    by_batches: dict[tuple[object, ...], tuple[list[list[RunPlan]], float]] = {}
    most = RESIDENT_SHARE * free_memory(data.device)
    for members in grouped:
        config = members[0].config
        needed = sum(run_bytes(run.config, data.slice.x.shape[1]) for run in members)
        target = config.target_place(data.slice.layer, data.slice.position)
        key = (config.seed, config.batch_size, config.chunk_rows, target)
        others, taken = by_batches.get(key, ([], 0.0))
        if config.chunk_rows and others and taken + needed <= most:
            others.append(members)
        else:
            taken, others = 0.0, [members]
            found.append(others)
        by_batches[key] = (others, taken + needed)
    return found


class Counted(NamedTuple):
    """Progress of the runs before the present ones, so that they can tell their own."""

    progress: Progress
    finished: int
    total: int

    def update(self, done: float) -> None:
        self.progress.update(self.finished + done, self.total, "runs")


def _train(together: list[list[RunPlan]], data: Data, store: Store, progress: Counted) -> None:
    """Train groups that take turns, and measure their runs."""
    for run in itertools.chain(*together):
        store.begin(run)
    fractions = [0.0] * len(together)

    def watching(group: int) -> Watch:
        def watch(member: int, fraction: float, history: list[dict]) -> None:
            fractions[group] = fraction * len(together[group])
            store.curves(together[group][member].id, fraction, history)
            progress.update(sum(fractions))

        return watch

    trainings: list[Training] = []
    try:
        target = data.target(together[0][0].config)
        rows, validation = data.rows(together[0][0].config.chunk_rows, target), data.validation(target)
        principal = data.principal(run.config for run in itertools.chain(*together))
        lead([[(run.id, run.config.chunk_rows) for run in members] for members in together])
        for group, members in enumerate(together):
            trainer = build([run.config for run in members], rows, principal)
            checkpoints = [store.checkpoint(run.id) for run in members]
            trainings.append(Training(trainer, rows.n, validation, checkpoints, watching(group)))
        step_through(trainings, rows)
    except (UserError, RuntimeError, MemoryError) as error:
        said = _out_of_memory(error)
        del trainings
        if len(together) > 1:
            smaller = [[members] for members in together]
        elif said and len(together[0]) > 1:  # together they need more than one by one
            smaller = [[[run]] for run in together[0]]
        else:
            for run in together[0]:
                store.fail(run, said or str(error).splitlines()[0])
            return
    else:
        for members in together:
            training = trainings.pop(0)
            results = [training.trained(member) for member in range(len(members))]
            del training
            for run in members:
                _finish(run, results.pop(0), data, store)
        return
    for number, part in enumerate(smaller):
        before = sum(len(members) for earlier in smaller[:number] for members in earlier)
        _train(part, data, store, progress._replace(finished=progress.finished + before))


def _finish(run: RunPlan, trained: Trained, data: Data, store: Store) -> None:
    try:
        store.finish(run, _measured(run, trained, data, store.checkpoint(run.id).parent))
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


def _measured(run: RunPlan, trained: Trained, data: Data, folder: Path) -> Result:
    if not all(bool(torch.isfinite(p).all()) for p in trained.model.parameters()):
        raise UserError(f"training diverged at lr {run.config.lr}: the weights are not finite; take a smaller lr")
    return measure(
        trained.model,
        data,
        history=trained.history,
        last_fired=trained.last_fired.cpu().numpy(),
        training=trained.summary,
        train_seconds=trained.seconds,
        before=trained.seconds,
        folder=folder,
        with_redundancy=not is_plain_topk(run.config) and not isinstance(trained.model, Binary),
        target=data.target(run.config),
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
    folder: Path | None = None,
    with_redundancy: bool = False,
    target: Target | None = None,
) -> Result:
    """Codes of every row, metrics by split, bootstrap intervals and baselines of an SAE on `data`.

    Args:
        before: seconds spent on the SAE so far.
        folder: for codes that are larger than memory should hold; see `encode_rows`.
        with_redundancy: also `sae.evaluation.redundancy`, of each split.
        target: what a transcoder reconstructs.

    Raises:
        UserError: if the SAE takes rows of another width, or it is a transcoder without a target.
    """
    started = time.monotonic()
    x = data.slice.x
    if model.d_in != x.shape[1]:
        raise UserError(f"the SAE takes rows of {model.d_in} dimensions, these activations have {x.shape[1]}")
    if model.transcodes and target is None:
        raise UserError("a transcoder is measured on the slice that it writes, and it is not known which that is here")
    written = target or data
    reader = target.reader if target else None
    codes, errors = encode_rows(model, data.reader, written.train_mean, data.device, folder=folder, target=reader)
    metrics = split_metrics(codes, errors, data.splits, model.d_in, model.d_sae)
    if isinstance(model, Crosscoder):
        by_layer = layer_metrics(model, data.reader, codes, data.train_mean, model.layers, data.splits)
        metrics = {name: found | by_layer[name] for name, found in metrics.items()}
    if isinstance(model, Binary):
        _add_binary_metrics(metrics, model, codes, data)
    if with_redundancy:
        weights = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
        W_dec = torch.from_numpy(directions(weights))
        for name in metrics:
            rows = data.splits.get(name, np.arange(len(codes.indptr) - 1))
            metrics[name] |= redundancy(codes, rows, W_dec)
    intervals = {
        name: {"ev_total": ev_interval(errors.squared_error[rows], errors.squared_spread[rows], data.examples[rows])}
        for name, rows in data.splits.items()
        if len(rows)
    }
    k = getattr(model, "k", None) or max(1, round(metrics["train"]["l0"]))
    compared = written.baselines.of(model.d_sae, min(int(k), model.d_sae))
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
        target.facts if target else None,
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
