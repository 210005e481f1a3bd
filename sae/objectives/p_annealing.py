"""p-annealing: a penalty Σ f^p whose p falls from 1, so that in the end it counts features rather than sizes (Karvonen
et al. 2024, arXiv 2408.00113).

    penalty = mean over rows of Σ f · max(f, ε)^(p - 1)        ε = 0.001: f^p from there on, a line below

f^p itself has no finite slope at 0. p falls in ten equal steps, spread evenly over what is left of the run after
`start`. At each the coefficient is multiplied with the penalty at the old p over that at the new one, of the last ten
batches, so that the pressure on the activations as they are does not jump.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sae.objectives.mechanism import Features, Mechanism, Seen, scalars

EPSILON = 1e-3
CHANGES = 10
QUEUE = 10  # batches that a change of the coefficient is taken over


def p_norm(strengths: Tensor, p: float) -> Tensor:
    """The penalty of strengths [B, d_sae] that are not negative, a scalar."""
    if p == 1:
        return strengths.sum(1).mean()
    return (strengths * strengths.clamp_min(EPSILON).pow(p - 1)).sum(1).mean()


class PAnnealing(Mechanism):
    """Holds `p` and the `factor` of the coefficient.

    Args:
        start: the step from which on p falls.
        total_steps: of the run.
        p_end: above 0.
        strengths: from codes [B, d_sae] and decoder rows, what is penalised.
    """

    def __init__(
        self, start: int, total_steps: int, p_end: float, strengths: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self._strengths = strengths
        #: steps before which p changes, and its values from then on
        self.steps = [start + i * max(total_steps - start, 0) // CHANGES for i in range(CHANGES)]
        self.values = [1 + (p_end - 1) * (i + 1) / CHANGES for i in range(CHANGES)]
        self.state = scalars(0, 1)  # changes so far, factor
        self.queue = torch.full((QUEUE, 2), torch.nan, dtype=torch.float64)  # the penalty at p and at the next one

    @property
    def p(self) -> float:
        changes = int(self.state[0])
        return self.values[changes - 1] if changes else 1.0

    @property
    def factor(self) -> float:
        return float(self.state[1])

    def act(self, seen: Seen, features: Features) -> None:
        changes = int(self.state[0])
        following = seen.step + 1
        if changes == CHANGES or following <= self.steps[changes] - QUEUE:
            return
        strengths = self._strengths(seen.code, features.weights["W_dec"])
        now, then = (float(p_norm(strengths, p)) for p in (self.p, self.values[changes]))
        self.queue[seen.step % QUEUE] = torch.tensor([now, then], dtype=torch.float64)
        if following >= self.steps[changes]:
            before, after = self.queue.nanmean(0).tolist()
            self.state[1] *= before / after if before > 0 and after > 0 else 1.0
            self.state[0] += 1
            self.queue.fill_(torch.nan)

    def figures(self) -> dict[str, float]:
        return {"p": self.p}

    def summary(self) -> dict[str, float]:
        return {"p_final": self.p, "annealing_factor": self.factor}

    def held(self) -> dict[str, Tensor]:
        return {"state": self.state, "queue": self.queue}
