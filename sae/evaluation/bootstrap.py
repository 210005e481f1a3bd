"""The bootstrap that evaluations share: problems, or groups of them, drawn with replacement."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_AT_ONCE = 200
_ENTRIES = 2**23  # of a block: 64 MB


def drawn_weights(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `n` units is drawn, a block [at most 200, n] of int64 at a time; `resamples` lines in all.

    The lines are the same for the same seed, whatever the blocks.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, min(_AT_ONCE, _ENTRIES // n))
    for start in range(0, resamples, at_once):
        yield generator.multinomial(n, np.full(n, 1 / n), size=min(at_once, resamples - start))


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws; draws that could not be had (not finite) are left out, NaN if all."""
    good = draws[np.isfinite(draws)]
    if not len(good):
        return float("nan"), float("nan")
    low, high = np.quantile(good, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
