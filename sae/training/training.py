"""A trainer with what surrounds its steps: curves, checkpoints, and the results of its members."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from sae.common.files import write_tensors
from sae.common.precision import exact
from sae.models.base import SAE
from sae.training.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

CHECKPOINT_SECONDS = 3.0
CHECKPOINT_SHARE = 0.02  # of the time that writing checkpoints may take
CURVE_POINTS = 200
READ_SECONDS = 0.25  # between looks at what a GPU measured
VALIDATION_POINTS = 12
VALIDATION_ROWS = 4096  # of the curve; the final figure is taken on all
VALIDATION_ENTRIES = 2**23  # pre-activations at once: 32 MB


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

    It may raise `Cancelled`: `sae.training.loop` has checkpoints written then.
    """

    def __call__(self, member: int, fraction: float, history: list[dict]) -> None: ...


class Training:
    """Steps a trainer to its end.

    Args:
        n: number of training rows.
        x_validation: held-out rows for the validation curve, on the trainer's device.
        checkpoints: a path for each member; written every few seconds of this training's own time (more rarely where
            writing takes long), and read here if all are there and alike.
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
        self._unread: list[tuple[dict, Tensor, list[dict]]] = []
        self._read_at = self._before = 0.0
        self._started: float | None = None
        self._load()
        trainer.align()
        self._save_at = self._before + CHECKPOINT_SECONDS
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
        """Spent on this training so far, in this process and in those before."""
        return self._before + (time.monotonic() - self._started if self._started is not None else 0.0)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time spent in here as this training's."""
        self._started = time.monotonic()
        try:
            yield
        finally:
            self._before, self._started = self.seconds, None

    def step(self, batch: Tensor) -> None:
        """One optimizer step on raw rows [B, d_in], with what is due after it."""
        rate = self.trainer.learning_rate(self.trainer.step_number)
        loss = self.trainer.step(batch)
        step, total = self.trainer.step_number, self.trainer.total_steps
        if step % self._record_every == 0 or step == total:
            self._record(loss, rate)
        for member, history in enumerate(self.histories):
            self.watch(member, step / total, history)
        if self.checkpoints and self.seconds > self._save_at:
            self.save()

    def trained(self, member: int) -> Trained:
        """A member's result, once the last step is done."""
        import pandas as pd

        self.trainer.drop_moments()
        table = pd.DataFrame(self.histories[member]).astype({"validation_ev_total": float})
        share = self.seconds / len(self.histories)
        trainer = self.trainer
        fired = trainer.last_fired[member].clone()
        return Trained(trainer.finished_model(member), table, fired, trainer.summary(member), share)

    def _record(self, loss: Tensor, rate: float) -> None:
        trainer, step = self.trainer, self.trainer.step_number
        validate = step % self._validate_every == 0 or step == trainer.total_steps
        dead = (trainer.rows_seen - trainer.last_fired >= self._n).float().mean(1)
        point = {
            "step": step,
            "epoch": step / trainer.steps_per_epoch,
            "rows_seen": trainer.rows_seen,
            "lr": rate,
            "seconds": self.seconds / len(self.histories),
        }
        members = range(len(self.histories))
        more = [
            {"validation_ev_total": self._ev(member) if validate else None, **trainer.figures(member)}
            for member in members
        ]
        self._unread.append((point, torch.stack([loss, dead]), more))
        # Reading waits for the device to do what it was told so far, so on a GPU many points are read at once.
        if trainer.device.type == "cpu" or validate or self.seconds > self._read_at:
            self._read()

    def _read(self) -> None:
        if self._unread:
            measured = torch.stack([figures for _, figures, _ in self._unread]).tolist()  # [points, 2, members]
            for (point, _, more), (losses, dead) in zip(self._unread, measured, strict=True):
                for history, loss, share, own in zip(self.histories, losses, dead, more, strict=True):
                    found = {"loss": loss, "ev_total_batch": 1 - loss / self._variance, "dead_share": share}
                    history.append({**point, **found, **own})
            self._unread = []
        self._read_at = self.seconds + READ_SECONDS

    @torch.no_grad()
    def _ev(self, member: int) -> float | None:
        """Explained variance on held-out rows."""
        if self._validation is None:
            return None
        trainer = self.trainer
        reconstruct = trainer.reconstruct(member)
        error = spread = 0.0
        for block in self._validation.split(max(1, VALIDATION_ENTRIES // trainer.common.d_sae)):
            wanted = trainer.wanted(block)
            error += float(exact(reconstruct(block) - wanted).square().sum())
            spread += float(exact(wanted - trainer.mean).square().sum())
        return 1 - error / spread if spread else None

    def save(self) -> None:
        """Write the checkpoints, if there are any to be written."""
        self._read()
        begun = time.monotonic()
        for member, path in enumerate(self.checkpoints):
            config = self.trainer.configs[member].as_dict()
            note = {"history": self.histories[member], "seconds": self.seconds, "config": config}
            write_tensors(path, self.trainer.state(member), {"note": json.dumps(note)})
        self._save_at = self.seconds + max(CHECKPOINT_SECONDS, (time.monotonic() - begun) / CHECKPOINT_SHARE)

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


class Begun(NamedTuple):
    """What a checkpoint goes on from: the step, and how the rows are ordered (`TrainingConfig.chunk_rows`)."""

    step: int
    chunk_rows: int


def begun(path: Path) -> Begun | None:
    """None where there is no checkpoint that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["note"])["config"]
            return Begun(int(file.get_tensor("counters")[0]), int(config.get("chunk_rows", 0)))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            note = json.loads((file.metadata() or {})["note"])
            return {key: file.get_tensor(key) for key in file.keys()}, note  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, KeyError):
        return None
