"""The coefficient of L1, moved so that a wanted share of features is active.

    p <- m · p + (1 - m) · mean 1[f ≠ 0]           from the first batch's own on
    l1 <- clip(l1 · (1 + 0.1 (p - target)))         up where codes are denser than wanted

Literal, as it was coded: the running share of *zeros* of each feature (from 0 on) stands in for p, so that the
penalty grows when codes are sparse already. (There it was also written where the trainer did not read it; here it is
read.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from sae.objectives.mechanism import Features, Mechanism, Seen, scalars

RATE = 0.1


class AdaptiveL1(Mechanism):
    """Holds the coefficient; `penalty` of L1 reads it (`value`)."""

    def __init__(
        self, start: float, target: float, momentum: float, bounds: tuple[float, float], literal: bool = False
    ) -> None:
        self.target, self.momentum, self.bounds, self.literal = target, momentum, bounds, literal
        # coefficient, running share (-1: none yet), changes, steps at a bound
        self.state = scalars(start, 0.0 if literal else -1.0, 0, 0)

    @property
    def value(self) -> float:
        return float(self.state[0])

    def act(self, seen: Seen, features: Features) -> None:
        before, share = self.state[0].item(), self.state[1].item()
        active = float(torch.count_nonzero(seen.code)) / seen.code.numel()
        now = 1 - active if self.literal else active
        share = now if share < 0 else self.momentum * share + (1 - self.momentum) * now
        wanted = before * (1 + RATE * (share - self.target))
        value = min(max(wanted, self.bounds[0]), self.bounds[1])
        self.state[:2] = torch.tensor([value, share], dtype=torch.float64)
        self.state[2] += value != before
        self.state[3] += value in self.bounds

    def figures(self) -> dict[str, float]:
        return {"running_zero_share" if self.literal else "running_density": max(0.0, float(self.state[1]))}

    def summary(self) -> dict[str, float]:
        value, _, changes, bound = self.state.tolist()
        return {"l1_changes": changes, "l1_steps_at_bound": bound, "l1_coefficient_final": value}

    def held(self) -> dict[str, Tensor]:
        return {"state": self.state}
