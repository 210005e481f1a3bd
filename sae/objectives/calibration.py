"""The coefficient of L1, moved so that a row has as many active features as are wanted: what compares SAEs at equal L0.

    l <- m · l + (1 - m) · mean L0 of the batch      m = 0.9, from the first batch's own on
    s <- s + g · log(l / wanted)                     g = 24 / steps of the run, at least 0.003, at most 0.05
    coefficient = start · exp(s) · (l / wanted)^p    p = 1

A controller that is proportional and integral: what it has summed up stands still where L0 is as wanted, whatever
coefficient that takes, and in a run of any length can move by the same orders of magnitude; the other part answers at
once, which keeps the sum from overshooting. Ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sae.objectives.mechanism import Features, Mechanism, Seen, scalars

MOMENTUM = 0.9
PROPORTION = 1.0
MOST = 1.0  # of the proportional part's logarithm, either way
BOUND = math.log(1e6)  # of the sum, either way


class Calibration(Mechanism):
    """Holds the factor that the coefficient is multiplied with (`factor`).

    Args:
        wanted: active features a row, above 0.
        warm: steps that pass first: those in which the coefficient rises by itself.
        total_steps: of the run.
    """

    def __init__(self, wanted: float, warm: int, total_steps: int) -> None:
        self.wanted, self.warm = wanted, warm
        self.gain = min(max(24 / max(total_steps, 1), 0.003), 0.05)
        self.state = scalars(0.0, -1.0, 0.0)  # the sum, running L0 (-1: none yet), logarithm of the factor

    @property
    def factor(self) -> float:
        return math.exp(float(self.state[2]))

    def act(self, seen: Seen, features: Features) -> None:
        total, running, logarithm = self.state.tolist()
        now = float(torch.count_nonzero(seen.code)) / len(seen.code)
        running = now if running < 0 else MOMENTUM * running + (1 - MOMENTUM) * now
        if seen.step >= self.warm:
            error = math.log(max(running, 0.1) / self.wanted)  # no active feature pulls as a tenth of one would
            total = min(max(total + self.gain * error, -BOUND), BOUND)
            logarithm = total + min(max(PROPORTION * error, -MOST), MOST)
        self.state[:] = torch.tensor([total, running, logarithm], dtype=torch.float64)

    def figures(self) -> dict[str, float]:
        return {"running_l0": max(0.0, float(self.state[1]))}

    def summary(self) -> dict[str, float]:
        return {"calibration_factor": self.factor, "l0_wanted": self.wanted, "l0_reached": float(self.state[1])}

    def held(self) -> dict[str, Tensor]:
        return {"state": self.state}
