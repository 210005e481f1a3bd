"""How important features are: a running mean of their activations, and its rank."""

from __future__ import annotations

import torch
from torch import Tensor


class Importance:
    """importance <- m · importance + (1 - m) · mean over the batch of |f|, from 0 on."""

    def __init__(self, d_sae: int, momentum: float, device: torch.device) -> None:
        self.momentum = momentum
        self.value = torch.zeros(d_sae, device=device)

    def add(self, code: Tensor) -> None:
        """Of a batch's codes [B, d_sae]."""
        self.value.mul_(self.momentum).add_(code.detach().abs().mean(0), alpha=1 - self.momentum)

    def percentiles(self) -> Tensor:
        """Share of the other living features that are less important, [d_sae]; 0 for those that never fired."""
        return percentiles(self.value)

    def restart(self, which: Tensor, kept: Tensor, literal: bool = False) -> None:
        """Features that were started anew get the median of those that are kept (literal: their mean).

        Args:
            which: their numbers; kept: bool [d_sae].
        """
        others = self.value[kept]
        if len(others):
            self.value[which] = others.mean() if literal else others.median()


def percentiles(values: Tensor) -> Tensor:
    """Share of the other values above 0 that are smaller, [d]; 0 for values of 0."""
    alive = values > 0
    ordered = values[alive].sort().values
    below = torch.searchsorted(ordered, values)
    return torch.where(alive, below / max(1, len(ordered) - 1), 0.0).clamp_max(1.0)
