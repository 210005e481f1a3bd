"""The loop over the rows: order, curves, checkpoints, and a way to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from sae.common.files import write_tensors
from sae.models.topk import TopK
from sae.training.config import TrainingConfig
from sae.training.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

CHECKPOINT_SECONDS = 3.0
CURVE_POINTS = 200
VALIDATION_POINTS = 12

COLUMNS = ("step", "epoch", "rows_seen", "loss", "ev_total_batch", "dead_share", "lr", "seconds", "validation_ev_total")


class Trained(NamedTuple):
    """A finished run: the model as it is stored, its curves, and per feature the rows seen when it last fired."""

    model: TopK
    history: pd.DataFrame
    last_fired: Tensor
    seconds: float


def train(
    config: TrainingConfig,
    x: Tensor,
    x_validation: Tensor | None = None,
    *,
    principal: Tensor | None = None,
    checkpoint: Path | None = None,
    watch: Callable[[float, list[dict]], None] = lambda fraction, history: None,
) -> Trained:
    """Train one SAE on resident rows.

    The order of rows depends on the seed and the epoch alone, so a resumed run and a run in company see the same
    batches as one that runs undisturbed and alone.

    Args:
        x: training rows [n, d_in], float32, on the device to train on.
        x_validation: held-out rows for the validation curve, on the same device.
        principal: principal directions of the training rows, where they are known already (many runs, one slice).
        checkpoint: written every few seconds and read at the start if it is there; deleted by whoever keeps the result.
        watch: called after every step with the finished share and the history so far; may raise `Cancelled`, and then
            a checkpoint is written first.
    """
    import pandas as pd

    trainer = Trainer(config, x, principal)
    mean = trainer.mean
    variance = (x - mean).square().mean()
    history: list[dict] = []
    before = 0.0
    if checkpoint is not None and checkpoint.exists():
        history, before = _load(checkpoint, trainer)
    started = last_saved = time.monotonic()
    record_every = max(1, trainer.total_steps // CURVE_POINTS)
    validate_every = max(record_every, trainer.total_steps // VALIDATION_POINTS // record_every * record_every)
    order = torch.empty(0)
    while trainer.step_number < trainer.total_steps:
        epoch, within = divmod(trainer.step_number, trainer.steps_per_epoch)
        if within == 0 or not len(order):
            order = row_order(config.seed, epoch, len(x)).to(x.device)
        batch = x[order[within * config.batch_size : (within + 1) * config.batch_size]]
        rate = trainer.learning_rate(trainer.step_number)
        loss = trainer.step(batch)
        step = trainer.step_number
        seconds = before + time.monotonic() - started
        if step % record_every == 0 or step == trainer.total_steps:
            last = step == trainer.total_steps
            history.append(
                {
                    "step": step,
                    "epoch": step / trainer.steps_per_epoch,
                    "rows_seen": trainer.rows_seen,
                    "loss": float(loss),
                    "ev_total_batch": 1 - float(loss / variance),
                    "dead_share": float((trainer.rows_seen - trainer.last_fired >= len(x)).float().mean()),
                    "lr": rate,
                    "seconds": seconds,
                    "validation_ev_total": _ev(trainer, x_validation, mean)
                    if x_validation is not None and len(x_validation) and (step % validate_every == 0 or last)
                    else None,
                }
            )
        due = checkpoint is not None and time.monotonic() - last_saved > CHECKPOINT_SECONDS
        try:
            watch(step / trainer.total_steps, history)
        except BaseException:
            if checkpoint is not None:
                _save(checkpoint, trainer, history, seconds)
            raise
        if due and checkpoint is not None:
            _save(checkpoint, trainer, history, seconds)
            last_saved = time.monotonic()
    table = pd.DataFrame(history, columns=list(COLUMNS)).astype({"validation_ev_total": float})
    return Trained(trainer.finished_model(), table, trainer.last_fired, before + time.monotonic() - started)


def row_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of n rows in one epoch, from seed and epoch alone; drawn on the CPU for every device."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


@torch.no_grad()
def _ev(trainer: Trainer, x: Tensor, train_mean: Tensor, rows: int = 4096) -> float:
    """EV_total of at most `rows` held-out rows, for the curve; the final figure is taken on all of them."""
    x = x[:rows]
    error = (x - trainer.finished_model()(x)).square().sum()
    return float(1 - error / (x - train_mean).square().sum())


def _save(path: Path, trainer: Trainer, history: list[dict], seconds: float) -> None:
    note = json.dumps({"history": history, "seconds": seconds, "config": trainer.config.as_dict()})
    write_tensors(path, trainer.state(), {"note": note})


def _load(path: Path, trainer: Trainer) -> tuple[list[dict], float]:
    """A checkpoint of another configuration, or one that can't be read, is left unused: the run starts again."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            note = json.loads((file.metadata() or {}).get("note", "{}"))
            if note.get("config") != trainer.config.as_dict():
                return [], 0.0
            trainer.restore({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (not a mapping)
            return note["history"], note["seconds"]
    except (SafetensorError, OSError, ValueError, KeyError):
        return [], 0.0
