"""Training by autograd: for every architecture that has no hand-written step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sae.models.base import SAE
from sae.training.config import TrainingConfig
from sae.training.rows import Sampled
from sae.training.stability import Stability
from sae.training.trainer import BETA1, BETA2, EPSILON, Trainer


class Outcome(NamedTuple):
    """Of one batch: the objective, what is made of `Trainer.wanted` [B, d_in], and the code [B, d_sae]."""

    loss: Tensor
    reconstruction: Tensor
    code: Tensor


class AutogradTrainer(Trainer):
    """One run, whose subclass makes the initial model and says what is minimised.

    Args:
        model: with its initial weights, on any device.
        clip_norm: largest norm of the gradient; 0 does not clip.
    """

    def __init__(self, config: TrainingConfig, rows: Sampled, model: SAE, clip_norm: float = 0.0) -> None:
        super().__init__([config], rows)
        self.model = model.to(self.device)
        self._clip = clip_norm or float("inf")
        self.parameters = dict(self.model.named_parameters())
        self._rate = torch.zeros((), device=self.device)
        self._optimizer = torch.optim.Adam(
            self.parameters.values(), lr=self._rate, betas=(BETA1, BETA2), eps=EPSILON, fused=True
        )
        for parameter in self.parameters.values():
            self._optimizer.state[parameter] = {
                "step": torch.zeros((), device=self.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        self.stability = Stability(self.total_steps, self.device)

    def outcome(self, x: Tensor) -> Outcome:
        """What is minimised on rows as training sees them."""
        raise NotImplementedError

    def step(self, x: Tensor) -> Tensor:
        x = self.scaled(x)
        self._rate.fill_(self.learning_rate(self.step_number))
        outcome = self.outcome(x)
        loss, reconstruction, code = outcome
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.before_update()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self._clip)
        self._optimizer.step()
        with torch.no_grad():
            self.after_update(x, outcome)
            self.stability.step(self.step_number, loss.detach(), norm)
            self.step_number += 1
            self.rows_seen += len(x)
            self.last_fired[0].masked_fill_((code != 0).any(0), self.rows_seen)
            return (self.wanted(x) - reconstruction).square().mean()[None] / self.scale**2

    def before_update(self) -> None:
        """Between the gradients and the optimizer's step."""

    def after_update(self, x: Tensor, outcome: Outcome) -> None:
        """After the optimizer's step on rows as training sees them, without gradients."""

    def figures(self, member: int) -> dict[str, float]:
        return {"gradient_norm": float(self.stability.values[0, -1])}

    def summary(self, member: int) -> dict[str, float]:
        return self.stability.summary()

    def held(self) -> dict[str, Tensor]:
        found = {**super().held(), "stability": self.stability.values}
        for name, parameter in self.parameters.items():
            found[name] = parameter.detach()[None]
            for key, value in self._optimizer.state[parameter].items():
                found[f"{key}.{name}"] = value[None]
        return found
