"""What training SAEs means, whatever carries out the step: weights and moments, the rate, the finished models.

A trainer holds one or more *members*: runs of one shape that see the same batches. Every tensor has a leading dimension
of members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sae.common.precision import exact
from sae.models.topk import TopK
from sae.training.config import TrainingConfig
from sae.training.rows import Rows
from sae.training.start import initial_model, scaling

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


class Trainer:
    """Runs in training. `W_enc` is held transposed, [G, d_sae, d_in]: a feature's weights are one contiguous row.

    A subclass carries out `step`; everything that the next step depends on is in `state`.

    Args:
        configs: of each member; they differ in nothing but K.
        rows: training rows, on the device to train on.
        principal: see `sae.training.start.initial_model`.
    """

    def __init__(self, configs: Sequence[TrainingConfig], rows: Rows, principal: Tensor | None = None) -> None:
        self.configs = tuple(configs)
        self.config = config = self.configs[0]  # for what all members have in common
        self.d_in, self.device = rows.d_in, rows.device
        self.shift, self.scale = scaling(config, rows)
        self.mean = rows.mean
        # per element, of the rows as training sees them
        self.variance = (rows.centred_norm * self.scale) ** 2 / rows.d_in or 1.0
        self.unit = self.variance if config.loss == "normalised" else 1.0
        self.steps_per_epoch = -(-rows.n // config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        starts = [initial_model(member, rows, principal).state_dict() for member in self.configs]
        for start in starts:
            start["W_enc"] = start["W_enc"].T
        self.weights = {name: torch.stack([start[name] for start in starts]).to(self.device) for name in PARAMETERS}
        self.first = {name: torch.zeros_like(value) for name, value in self.weights.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.weights.items()}
        self.step_number = 0
        self.rows_seen = 0
        # rows_seen when each feature last fired [G, d_sae]: the AuxK window, and later the autopsy of the dead
        self.last_fired = torch.zeros(len(configs), config.d_sae, dtype=torch.int64, device=self.device)
        self.auxk_k = config.auxk_k or max(1, rows.d_in // 2)
        self.auxk_window = config.auxk_window or 2 * rows.n

    def step(self, x: Tensor) -> Tensor:
        """One optimizer step on raw rows x [B, d_in]; returns each member's mean squared error per element [G]."""
        raise NotImplementedError

    def learning_rate(self, step: int) -> float:
        """Adam's rate at a step counted from 0: constant, or decaying to 0."""
        done = step / self.total_steps
        if self.config.lr_schedule == "linear":
            return self.config.lr * (1 - done)
        if self.config.lr_schedule == "cosine":
            return self.config.lr * 0.5 * (1 + math.cos(done * math.pi))
        return self.config.lr

    def scaled(self, x: Tensor) -> Tensor:
        """Rows as training sees them."""
        return (x - self.shift) * self.scale if self.config.input_scaling else x

    def finished_model(self, member: int = 0) -> TopK:
        """A member as it is stored: for raw rows, encoding `(x - b_dec) @ W_enc + b_enc`.

        With x' = (x - shift) * scale in training, features that are smaller by `scale` and biases taken out of the
        scaling reconstruct x just as the trained weights reconstruct x'; who wins top-K does not change. Where training
        did not subtract b_dec, `b_dec @ W_enc` is folded into b_enc.
        """
        config = self.configs[member]
        trained = {name: value[member] for name, value in self.weights.items()}
        stored = TopK(self.d_in, config.d_sae, config.k, config.selection).to(self.device)
        with torch.no_grad():
            stored.load_state_dict({**trained, "W_enc": trained["W_enc"].T})
            if config.input_scaling:
                stored.b_dec.copy_(self.shift + trained["b_dec"] / self.scale)
                stored.b_enc.div_(self.scale)
            if not config.subtract_b_dec:
                unsubtracted = stored.b_dec - self.shift
                stored.b_enc.add_((exact(trained["W_enc"]) @ exact(unsubtracted)).float().to(self.device))
        return stored

    def align(self) -> None:
        """Before the first step: where several processes train together, all take over the first one's state."""

    def drop_moments(self) -> None:
        """Free the moments, which no step needs after the last one: the finished model takes no more memory then."""
        self.first, self.second = {}, {}

    def state(self, member: int = 0) -> dict[str, Tensor]:
        """Everything that the next step of a member depends on, by name; `restore` takes it back."""
        state = {name: held[member] for name, held in self._held().items()}
        return {**state, "counters": torch.tensor([self.step_number, self.rows_seen])}

    def restore(self, member: int, state: dict[str, Tensor]) -> None:
        """Raises KeyError or RuntimeError for a state of other names or shapes."""
        for name, held in self._held().items():
            held[member].copy_(state[name])
        self.step_number, self.rows_seen = (int(value) for value in state["counters"])

    def _held(self) -> dict[str, Tensor]:
        parts = {"": self.weights, "first.": self.first, "second.": self.second}
        tensors = {f"{prefix}{name}": value for prefix, part in parts.items() for name, value in part.items()}
        return {**tensors, "last_fired": self.last_fired}
