"""How steadily a training went, gathered on the device step by step."""

from __future__ import annotations

import torch
from torch import Tensor

DECAY = 0.99
SPIKE = 5.0  # standard deviations of the running mean above it
WARM_UP = 50  # steps in which the running mean settles


class Stability:
    """Loss spikes and the variation of the gradient's norm.

    A spike is a loss above its exponential mean by more than five exponential standard deviations (decay 0.99, after 50
    steps). The coefficient of variation of the gradient's norm is taken over the last third of the steps.
    """

    def __init__(self, total_steps: int, device: torch.device) -> None:
        self._from = 2 * total_steps // 3
        #: mean and variance of the loss, spikes; number, sum and sum of squares of gradient norms; the last norm
        self.values = torch.zeros(1, 7, device=device)

    def step(self, number: int, loss: Tensor, norm: Tensor) -> None:
        """After step `number` (from 0) with its loss and gradient norm, scalars without gradient."""
        mean, variance, spikes, n, total, squares, _ = self.values[0].unbind()
        away = loss - mean
        if number >= WARM_UP:
            spikes = spikes + (away > SPIKE * variance.sqrt())
        rate = max(1 - DECAY, 1 / (number + 1))
        mean = mean + rate * away
        variance = (1 - rate) * (variance + rate * away * away)
        if number >= self._from:
            n, total, squares = n + 1, total + norm, squares + norm * norm
        self.values[0] = torch.stack([mean, variance, spikes, n, total, squares, norm])

    def summary(self) -> dict[str, float]:
        _, _, spikes, n, total, squares, _ = (float(value) for value in self.values[0])
        mean = total / n if n else 0.0
        spread = max(squares / n - mean * mean, 0.0) ** 0.5 if n else 0.0
        return {"loss_spikes": spikes, "gradient_norm_cv": spread / mean if mean else 0.0}
