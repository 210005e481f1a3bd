"""Reallocation: features that hardly fire are started anew where the reconstruction is worst.

    activity <- m · activity + (1 - m) · mean 1[f ≠ 0]

Every `window` steps, features whose activity (over 1 - mⁿ after n steps, as it starts at 0) is below the threshold and
that are at least a window old are drawn anew: in the direction of the residual x - x̂ of a row of the batch, drawn with
a probability that grows with its square; with a fifth of the mean encoder norm of the others, bias 0 and no moments.

Literal, as the text has it (no code of it is known): random directions with the mean norm of the others, activity as
it stands. The text's threshold of 0.01 takes every feature that fires on less than 1 % of the rows, rare ones that are
right among them; without the literal mode it is 0.0001.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sae.objectives.mechanism import Features, Mechanism, Seen, scalars

SMALLER = 0.2


class Reallocation(Mechanism):
    """See above."""

    def __init__(
        self,
        d_sae: int,
        threshold: float,
        window: int,
        momentum: float,
        seed: int,
        device: torch.device,
        literal: bool = False,
    ) -> None:
        self.threshold, self.window, self.momentum, self.seed = threshold, window, momentum, seed
        self.literal = literal
        self.activity = torch.zeros(d_sae, dtype=torch.float64, device=device)
        self.age = torch.zeros(d_sae, dtype=torch.int64, device=device)
        self.counts = scalars(0, 0)  # checks, reallocated

    def act(self, seen: Seen, features: Features) -> Tensor | None:
        fired = (seen.code != 0).double().mean(0)
        self.activity.mul_(self.momentum).add_(fired, alpha=1 - self.momentum)
        self.age += 1
        if (seen.step + 1) % self.window:
            return None
        self.counts[0] += 1
        activity = self.activity if self.literal else self.activity / (1 - self.momentum ** self.age.double())
        idle = (activity < self.threshold) & (self.age >= self.window)
        which = idle.nonzero()[:, 0]
        if not len(which):
            return None
        self.counts[1] += len(which)
        norms = features.encoder_norms[~idle]
        norm = float(norms.mean()) if len(norms) else 1.0
        directions = self._directions(len(which), seen)
        features.redraw(which, directions, norm if self.literal else SMALLER * norm)
        return which

    def _directions(self, n: int, seen: Seen) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen.step)
        residual = seen.x - seen.reconstruction
        odds = residual.square().sum(1).double().cpu()
        if self.literal or not float(odds.sum()) > 0:
            return torch.randn(n, seen.x.shape[1], generator=generator).to(seen.x.device)
        enough = int((odds > 0).sum()) >= n
        drawn = torch.multinomial(odds, n, replacement=not enough, generator=generator)
        return residual[drawn.to(residual.device)]

    def redrawn(self, which: Tensor) -> None:
        self.activity[which] = 0.0
        self.age[which] = 0

    def figures(self) -> dict[str, float]:
        return {"reallocated": float(self.counts[1])}

    def summary(self) -> dict[str, float]:
        checks, moved = self.counts.tolist()
        return {"reallocation_checks": checks, "reallocated": moved, "reallocation_window": float(self.window)}

    def held(self) -> dict[str, Tensor]:
        return {"activity": self.activity, "age": self.age, "counts": self.counts}
