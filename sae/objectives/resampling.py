"""Resampling of dead features (Bricken et al. 2023, "Towards monosemanticity", appendix).

Four times in a run, `every` steps apart, features that did not fire in the last half of these steps are started anew:
each gets as its direction a training row less b_dec, drawn with a probability that grows with the square of its
squared error; the encoder's column gets a fifth of the mean norm of the living ones', the bias 0, Adam's moments 0.

The source drew from 819,200 rows of unending data and used its whole loss; here it is from at most 8,192 training
rows, and the loss is the squared error.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sae.objectives.mechanism import Features, Mechanism, Seen, scalars

TIMES = 4
ROWS = 8192
SMALLER = 0.2


class Resampling(Mechanism):
    """See above.

    Args:
        every: steps.
        rows: given a generator, rows as the encoder sees them [n, d_in] and their squared errors [n].
    """

    def __init__(
        self,
        d_sae: int,
        every: int,
        seed: int,
        device: torch.device,
        rows: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    ) -> None:
        self.every, self.seed, self._rows = every, seed, rows
        self.idle = torch.zeros(d_sae, dtype=torch.int64, device=device)  # steps since each fired
        self.counts = scalars(0, 0)  # times, features

    def act(self, seen: Seen, features: Features) -> Tensor | None:
        self.idle += 1
        self.idle.masked_fill_((seen.code != 0).any(0), 0)
        times, rest = divmod(seen.step + 1, self.every)
        if rest or times > TIMES:
            return None
        self.counts[0] += 1
        dead = self.idle >= max(1, self.every // 2)
        which = dead.nonzero()[:, 0]
        if not len(which):
            return None
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen.step)
        x, errors = self._rows(generator)
        odds = errors.double().square().cpu()
        if not float(odds.sum()) > 0:
            return None
        enough = int((odds > 0).sum()) >= len(which)
        drawn = torch.multinomial(odds, len(which), replacement=not enough, generator=generator)
        norms = features.encoder_norms[~dead]
        norm = float(norms.mean()) if len(norms) else 1.0
        features.redraw(which, x[drawn.to(x.device)], SMALLER * norm)
        self.counts[1] += len(which)
        return which

    def redrawn(self, which: Tensor) -> None:
        self.idle[which] = 0

    def figures(self) -> dict[str, float]:
        return {"resampled": float(self.counts[1])}

    def summary(self) -> dict[str, float]:
        times, features = self.counts.tolist()
        return {"resampling_times": times, "resampled": features}

    def held(self) -> dict[str, Tensor]:
        return {"idle": self.idle, "counts": self.counts}
