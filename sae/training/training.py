"""A trainer with what surrounds its steps: curves, checkpoints, and the results of its members."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from sae.common.files import write_tensors
from sae.models.base import SAE
from sae.training.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

CHECKPOINT_SECONDS = 3.0
CURVE_POINTS = 200
VALIDATION_POINTS = 12
VALIDATION_ROWS = 4096  # of the curve; the final figure is taken on all


class Trained(NamedTuple):
    """A finished run: the model as it is stored, its curves, the rows seen when each feature last fired, and figures of
    the whole training.
    """

    model: SAE
    history: pd.DataFrame
    last_fired: Tensor
    summary: dict[str, float]
    seconds: float


class Watch(Protocol):
    """Called after every step for each member with the finished share and its curve so far.

    It may raise `Cancelled`; checkpoints are written before that goes on.
    """

    def __call__(self, member: int, fraction: float, history: list[dict]) -> None: ...


class Training:
    """Steps a trainer to its end.

    Args:
        n: number of training rows.
        x_validation: held-out rows for the validation curve, on the trainer's device.
        checkpoints: a path for each member; written every few seconds, and read here if all are there and alike.
    """

    def __init__(
        self,
        trainer: Trainer,
        n: int,
        x_validation: Tensor | None = None,
        checkpoints: Sequence[Path] = (),
        watch: Watch = lambda member, fraction, history: None,
    ) -> None:
        self.trainer, self.checkpoints, self.watch = trainer, checkpoints, watch
        self._n = n
        self._validation = x_validation[:VALIDATION_ROWS] if x_validation is not None and len(x_validation) else None
        self._variance = trainer.variance / trainer.scale**2
        self.histories: list[list[dict]] = [[] for _ in trainer.configs]
        self._before = 0.0
        self._load()
        self._started = self._saved = time.monotonic()
        total = trainer.total_steps
        self._record_every = max(1, total // CURVE_POINTS)
        self._validate_every = max(
            self._record_every, total // VALIDATION_POINTS // self._record_every * self._record_every
        )

    @property
    def finished(self) -> bool:
        return self.trainer.step_number >= self.trainer.total_steps

    @property
    def seconds(self) -> float:
        """Spent on steps so far, in this process and in those before."""
        return self._before + time.monotonic() - self._started

    def step(self, batch: Tensor) -> None:
        """One optimizer step on raw rows [B, d_in], with what is due after it."""
        rate = self.trainer.learning_rate(self.trainer.step_number)
        loss = self.trainer.step(batch)
        step, total = self.trainer.step_number, self.trainer.total_steps
        if step % self._record_every == 0 or step == total:
            self._record(loss, rate)
        try:
            for member, history in enumerate(self.histories):
                self.watch(member, step / total, history)
        except BaseException:
            self._save()
            raise
        if self.checkpoints and time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self._save()

    def trained(self, member: int) -> Trained:
        import pandas as pd

        table = pd.DataFrame(self.histories[member]).astype({"validation_ev_total": float})
        share = self.seconds / len(self.histories)
        trainer = self.trainer
        fired = trainer.last_fired[member].clone()
        return Trained(trainer.finished_model(member), table, fired, trainer.summary(member), share)

    def _record(self, loss: Tensor, rate: float) -> None:
        trainer, step = self.trainer, self.trainer.step_number
        validate = step % self._validate_every == 0 or step == trainer.total_steps
        dead = (trainer.rows_seen - trainer.last_fired >= self._n).float().mean(1)
        for member, history in enumerate(self.histories):
            history.append(
                {
                    "step": step,
                    "epoch": step / trainer.steps_per_epoch,
                    "rows_seen": trainer.rows_seen,
                    "loss": float(loss[member]),
                    "ev_total_batch": 1 - float(loss[member]) / self._variance,
                    "dead_share": float(dead[member]),
                    "lr": rate,
                    "seconds": self.seconds / len(self.histories),
                    "validation_ev_total": self._ev(member) if validate else None,
                    **trainer.figures(member),
                }
            )

    @torch.no_grad()
    def _ev(self, member: int) -> float | None:
        if self._validation is None:
            return None
        error = (self._validation - self.trainer.finished_model(member)(self._validation)).square().sum()
        return float(1 - error / (self._validation - self.trainer.mean).square().sum())

    def _save(self) -> None:
        for member, path in enumerate(self.checkpoints):
            config = self.trainer.configs[member].as_dict()
            note = {"history": self.histories[member], "seconds": self.seconds, "config": config}
            write_tensors(path, self.trainer.state(member), {"note": json.dumps(note)})
        self._saved = time.monotonic()

    def _load(self) -> None:
        """Checkpoints of other configurations or steps, or that can't be read, are left unused: it starts again."""
        found = [_read(path) for path in self.checkpoints]
        if not found or any(part is None for part in found):
            return
        states, notes = zip(*(part for part in found if part is not None), strict=True)
        if [note.get("config") for note in notes] != [config.as_dict() for config in self.trainer.configs]:
            return
        if any(not torch.equal(state["counters"], states[0]["counters"]) for state in states):
            return
        for member, state in enumerate(states):
            self.trainer.restore(member, state)
        self.histories = [note["history"] for note in notes]
        self._before = notes[0]["seconds"]


def checkpoint_step(path: Path) -> int:
    """The step that a checkpoint goes on from; 0 where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return int(file.get_tensor("counters")[0])
    except (SafetensorError, OSError):
        return 0


def _read(path: Path) -> tuple[dict[str, Tensor], dict] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            note = json.loads((file.metadata() or {})["note"])
            return {key: file.get_tensor(key) for key in file.keys()}, note  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, KeyError):
        return None
