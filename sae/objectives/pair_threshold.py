"""Pairs above a threshold that follows the batches: mean plus some standard deviations of all similarities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sae.objectives.mechanism import scalars
from sae.objectives.pair_fraction import Taken
from sae.objectives.similarity import Found

START = 0.5


class PairThreshold:
    """threshold <- m · threshold + (1 - m)(mean + n · std), from 0.5 on; pairs above it, within bounds.

    Args:
        deviations: n; momentum: m.
        minimum: pairs that are taken in any case, if so many have a similarity above 0.
        most: pairs at most.
        literal: as it was coded: mean and (sample) standard deviation over all d² entries of the symmetric matrix, its
            zero diagonal included; as many entries as half of those above the threshold, no upper bound.
    """

    def __init__(self, deviations: float, momentum: float, minimum: int, most: int, literal: bool = False) -> None:
        self.deviations, self.momentum, self.minimum, self.literal = deviations, momentum, minimum, literal
        self._most = most
        self.value = scalars(START)

    def most(self, d_sae: int) -> int:
        """Pairs that have to be looked for before the threshold is known."""
        return d_sae * (d_sae - 1) // 2 if self.literal else max(self.minimum, self._most)

    def taken(self, found: Found) -> Taken:
        """Moves the threshold by the pairs of this batch, and says how many of them are taken."""
        mean, std = entry_moments(found, found.d_sae**2) if self.literal else (found.mean, found.std)
        self.value.mul_(self.momentum).add_((1 - self.momentum) * (mean + self.deviations * std))
        above = int((found.similarity > float(self.value)).sum())
        if self.literal:
            entries = min(max(self.minimum, above), found.d_sae**2)  # 2 · above entries lie above it; half are taken
            return Taken((entries + 1) // 2, entries)
        return Taken(min(max(self.minimum, above), self._most))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.value.copy_(state["threshold"])


def entry_moments(found: Found, entries: int) -> tuple[float, float]:
    """Mean and sample standard deviation over `entries` of the symmetric matrix: every pair twice, the rest zeros."""
    mean = 2 * found.total / entries
    variance = (2 * found.squares - entries * mean * mean) / max(1, entries - 1)
    return mean, float(torch.tensor(variance).clamp_min(0).sqrt())
