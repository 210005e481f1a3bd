"""How steady the selection of pairs is: whether the same pairs come back, and for how long they stay."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sae.objectives.mechanism import scalars

SAMPLES = 10  # sets of pairs in a window that the entropy is taken over


class PairStability:
    """Three figures of the sets of selected pairs S_t.

    - Jaccard: |S_t & S_(t-w)| / |S_t | S_(t-w)|, at every w-th step.
    - Lifetime: mean number of steps in a row that a pair stays, all pair-steps over all times that a pair came in.
    - Entropy: -Σ p log p in nats, p the shares of the pairs in what ten sets of the last window selected. It is at
      least the logarithm of the number of pairs a step, where they are always the same, and at most log 10 more.

    Args:
        window: w, in steps.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._every = max(1, window // SAMPLES)
        self._last = np.empty(0, np.int64)
        self._snapshot = np.empty(0, np.int64)
        self._gathered = np.empty(0, np.int64)
        # steps, pair-steps, times that a pair came in, last Jaccard (nan: none yet), their sum and number, last entropy
        self._counts = scalars(0, 0, 0, math.nan, 0, 0, math.nan)

    def add(self, pairs: np.ndarray) -> None:
        """The pairs of one step by number, int64, each once."""
        pairs = np.sort(pairs)
        count = self._counts
        count[1] += len(pairs)
        count[2] += len(pairs) - len(np.intersect1d(pairs, self._last, assume_unique=True))
        step = int(count[0])
        if step % self.window == 0:
            if step:
                count[3] = _jaccard(pairs, self._snapshot)
                count[4] += count[3]
                count[5] += 1
                count[6] = _entropy(self._gathered)
            self._snapshot, self._gathered = pairs, np.empty(0, np.int64)
        if step % self._every == 0:
            self._gathered = np.concatenate([self._gathered, pairs])
        self._last = pairs
        count[0] += 1

    def figures(self) -> dict[str, float]:
        _, steps, came, jaccard, *_, entropy = self._counts.tolist()
        return {
            "pair_jaccard": jaccard,
            "pair_lifetime": steps / came if came else math.nan,
            "pair_entropy": entropy,
        }

    def summary(self) -> dict[str, float]:
        """The mean Jaccard of the whole training, the lifetime, the last entropy, and the window."""
        _, _, _, _, total, number, _ = self._counts.tolist()
        jaccard = {"pair_jaccard": total / number} if number else {}
        found = {**self.figures(), **jaccard, "pair_stability_window": float(self.window)}
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def held(self) -> dict[str, Tensor]:
        arrays = {"last": self._last, "snapshot": self._snapshot, "gathered": self._gathered}
        return {**{name: torch.from_numpy(value) for name, value in arrays.items()}, "stability": self._counts}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._last, self._snapshot, self._gathered = (
            state[name].numpy().copy() for name in ("last", "snapshot", "gathered")
        )
        self._counts.copy_(state["stability"])


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else 1.0


def _entropy(pairs: np.ndarray) -> float:
    if not len(pairs):
        return math.nan
    counts = np.unique(pairs, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
