"""Spreads a compiled loop over as many threads as PyTorch has: parts are fixed by the thread count alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch

T = TypeVar("T")


def over_ranges(work: Callable[[int, int, int], T], bounds: np.ndarray) -> list[T]:
    """`work(part, first, last)` for each part between two bounds; the last part runs in the calling thread."""
    parts = [(number, int(a), int(b)) for number, (a, b) in enumerate(pairwise(bounds))]
    waiting = [_pool(len(parts) - 1).submit(work, *part) for part in parts[:-1]] if len(parts) > 1 else []
    last = work(*parts[-1])
    return [*(future.result() for future in waiting), last]


def even(n: int) -> np.ndarray:
    """Bounds of equal parts of n."""
    return np.linspace(0, n, torch.get_num_threads() + 1).astype(np.int64)


def balanced(start: np.ndarray, each: float) -> np.ndarray:
    """Bounds of parts of features with equal work: their entries, and `each` (in entries) for a feature itself."""
    work = start + each * np.arange(len(start))
    return np.searchsorted(work, np.linspace(0, work[-1], torch.get_num_threads() + 1)).astype(np.int64)


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="training")
