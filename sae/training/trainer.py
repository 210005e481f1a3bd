"""What training is, whatever is trained: rows as training sees them, the rate, a step that a subclass carries out.

A trainer holds one or more *members*: runs that see the same batches. What it holds by member has a leading dimension
of members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sae.models.base import SAE
from sae.training.config import TrainingConfig
from sae.training.rows import Sampled
from sae.training.start import Centred, scaling

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's, of every run


class Trainer:
    """Runs in training. Everything that the next step depends on is in `state`.

    Args:
        configs: of each member.
        rows: training rows, on the device to train on.
    """

    def __init__(self, configs: Sequence[TrainingConfig], rows: Sampled) -> None:
        self.configs = tuple(configs)
        self.common = self.configs[0]  # for what all members have in common
        self.device = rows.device
        target = self.target(rows)
        self.shift, self.scale = scaling(self.common, target)
        self.mean = target.mean
        self.d_in = len(self.mean)
        # per element, of the rows as training sees them
        self.variance = (target.centred_norm * self.scale) ** 2 / self.d_in or 1.0
        self.steps_per_epoch = -(-rows.n // self.common.batch_size)
        self.total_steps = self.common.epochs * self.steps_per_epoch
        self.step_number = 0
        self.rows_seen = 0
        # rows_seen when each feature last fired [G, d_sae]: AuxK's window, and later the autopsy of the dead
        self.last_fired = torch.zeros(len(configs), self.common.d_sae, dtype=torch.int64, device=self.device)

    def step(self, x: Tensor) -> Tensor:
        """One optimizer step on raw rows x [B, d_in]; returns each member's mean squared error per element [G]."""
        raise NotImplementedError

    def finished_model(self, member: int = 0) -> SAE:
        """A member as it is stored: for raw rows."""
        raise NotImplementedError

    def figures(self, member: int) -> dict[str, float]:
        """What the curves show beside loss, explained variance and death: of the last step, by column."""
        return {}

    def summary(self, member: int) -> dict[str, float]:
        """Figures of the whole training, kept with the metrics of the run."""
        return {}

    def target(self, rows: Sampled) -> Centred:
        """Of what is reconstructed; a subclass may see more in its rows than that."""
        return rows

    def wanted(self, x: Tensor) -> Tensor:
        """What is to be reconstructed [B, d_in] of rows as they come, raw or scaled."""
        return x

    def learning_rate(self, step: int) -> float:
        """Adam's rate at a step counted from 0: constant, or decaying to 0."""
        done = step / self.total_steps
        if self.common.lr_schedule == "linear":
            return self.common.lr * (1 - done)
        if self.common.lr_schedule == "cosine":
            return self.common.lr * 0.5 * (1 + math.cos(done * math.pi))
        return self.common.lr

    def scaled(self, x: Tensor) -> Tensor:
        """Rows as training sees them."""
        return (x - self.shift) * self.scale if self.common.input_scaling else x

    def align(self) -> None:
        """Before the first step: where several processes train together, all take over the first one's state."""

    def drop_moments(self) -> None:
        """Free the moments, which no step needs after the last one: the finished model takes no more memory then."""

    def reconstruct(self, member: int) -> Callable[[Tensor], Tensor]:
        """What a member makes of raw rows as it stands, beside `wanted` of them."""
        return self.finished_model(member)

    def state(self, member: int = 0) -> dict[str, Tensor]:
        """Everything that the next step of a member depends on, by name; `restore` takes it back."""
        state = {name: held[member] for name, held in self.held().items()}
        return {**state, "counters": torch.tensor([self.step_number, self.rows_seen])}

    def restore(self, member: int, state: dict[str, Tensor]) -> None:
        """Raises KeyError or RuntimeError for a state of other names or shapes."""
        for name, held in self.held().items():
            held[member].copy_(state[name])
        self.step_number, self.rows_seen = (int(value) for value in state["counters"])

    def held(self) -> dict[str, Tensor]:
        """Tensors of the state [G, ...], by name; a subclass adds its own."""
        return {"last_fired": self.last_fired}
