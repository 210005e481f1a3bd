"""Where a listed neighbour is much stronger, row by row on the CPU: a row's values stay in the cache."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sae.common.threads import even, over_ranges


def outdone(size: Tensor, neighbours: Tensor, threshold: float) -> Tensor:
    """1 where a value that is not 0 is below `threshold` times one of its neighbours', 0 elsewhere.

    Args:
        size: [n, d] float32 or float64 on the CPU, none negative.
        neighbours: int64 [d, m]; a number of its own changes nothing.

    Returns:
        [n, d], of the type of `size`.
    """
    found = torch.zeros_like(size, memory_format=torch.contiguous_format)
    values, near, out = size.contiguous().numpy(), neighbours.contiguous().numpy(), found.numpy()
    at = values.dtype.type(threshold)
    over_ranges(lambda _, first, last: _outdone(values[first:last], near, at, out[first:last]), even(len(values)))
    return found


@njit(cache=True, nogil=True)
def _outdone(size: np.ndarray, neighbours: np.ndarray, threshold: float, out: np.ndarray) -> None:
    rows, d = size.shape
    for row in range(rows):
        for feature in range(d):
            value = size[row, feature]
            if value > 0:
                for place in range(neighbours.shape[1]):
                    if value < threshold * size[row, neighbours[feature, place]]:
                        out[row, feature] = 1
                        break
