"""Control of false discoveries over many tests."""

from __future__ import annotations

import numpy as np


def benjamini_hochberg(p: np.ndarray, tests: int | None = None) -> np.ndarray:
    """Adjusted p-values (q) of `p` [m], in its order (Benjamini and Hochberg 1995).

    Args:
        tests: how many tests there were in all; those that are not in `p` count as p = 1. By default m.
    """
    m = len(p)
    order = np.argsort(p, kind="stable")
    q = p[order] * max(tests or m, m) / np.arange(1, m + 1)
    result = np.empty(m)
    result[order] = np.minimum(np.minimum.accumulate(q[::-1])[::-1], 1.0)
    return result
