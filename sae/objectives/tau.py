"""Tau: the margin of the hinge, or in one form the weight of the penalty; fixed, or following the similarities."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sae.objectives.mechanism import scalars
from sae.objectives.pair_threshold import entry_moments
from sae.objectives.similarity import Found

RULES = ("fixed", "momentum", "mean_std")


class Tau:
    """`fixed`; `mean_std`: the mean plus the standard deviation of all pairs of the batch; or `momentum`:

    - as a margin: level <- m · level + (1 - m) c̄, tau <- clip(m · tau + (1 - m) level), with c̄ the mean over selected
      pairs (the level of the first batch is its c̄). Only what is above the recent level is pushed.
    - literal, as it was coded: tau <- clip(m · tau + (1 - m) · tau · c̄ / target).

    Args:
        literal: also takes `mean_std` over the d (d-1) entries off the diagonal, with the sample standard deviation.
    """

    def __init__(
        self,
        rule: str,
        start: float,
        momentum: float,
        target: float,
        bounds: tuple[float, float],
        literal: bool = False,
    ) -> None:
        self.rule, self.momentum, self.target, self.bounds, self.literal = rule, momentum, target, bounds, literal
        self.state = scalars(start, -1.0, 0.0)  # tau, level (-1: none yet), changes

    @property
    def value(self) -> float:
        return float(self.state[0])

    @property
    def changes(self) -> float:
        return float(self.state[2])

    def move(self, found: Found, selected_mean: float) -> float:
        """Tau for this batch.

        Args:
            selected_mean: of the selected pairs' similarities.
        """
        before, m = self.value, self.momentum
        if self.rule == "mean_std":
            pairs = found.pairs
            mean, std = entry_moments(found, 2 * pairs) if self.literal else (found.mean, found.std)
            self.state[0] = mean + std
        elif self.rule == "momentum":
            if self.literal:
                wanted = m * before + (1 - m) * before * selected_mean / self.target
            else:
                level = float(self.state[1])
                self.state[1] = selected_mean if level < 0 else m * level + (1 - m) * selected_mean
                wanted = m * before + (1 - m) * float(self.state[1])
            self.state[0] = min(max(wanted, self.bounds[0]), self.bounds[1])
        self.state[2] += self.value != before
        return self.value

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.state.copy_(state["tau"])
