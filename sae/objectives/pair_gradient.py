"""Gradients of the similarities of some pairs of features of codes, in one pass over the rows of a batch."""

from __future__ import annotations

import numpy as np
from numba import njit

from sae.common.threads import even, over_ranges
from sae.objectives.packed_codes import WIDTH, add_rows, aligned

TURNED = 16  # rows that are turned into columns at once, out of the first cache


def spread(
    codes: np.ndarray, first: np.ndarray, second: np.ndarray, across: np.ndarray, own: np.ndarray, mean: np.ndarray
) -> np.ndarray:
    """(F - mean)(M + diag(own)) where codes F [B, d] are not 0, 0 elsewhere, float32.

    Args:
        first, second, across: the symmetric matrix M: `across` [n] at the pairs (first, second) and (second, first).
        own, mean: float64 [d].
    """
    features, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    m = len(features)
    a, b = places[: len(first)], places[len(first) :]
    of, with_ = np.concatenate([a, b, np.arange(m)]), np.concatenate([b, a, np.arange(m)])
    order = np.argsort(of, kind="stable")
    start = np.searchsorted(of[order], np.arange(m + 1))
    weights = np.concatenate([across, across, own[features]])[order].astype(np.float32)
    result = np.zeros(codes.shape, np.float32)
    matrix = (features.astype(np.uint64), start, with_[order].astype(np.int32), weights)

    def work(_: int, first: int, last: int) -> None:
        space = aligned(m, WIDTH), aligned(m, WIDTH)
        _spread(first, last, codes, *matrix, mean[features].astype(np.float32), *space, result)

    over_ranges(work, even(len(codes)))
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(begin, end, codes, features, start, with_, weights, mean, given, made, result):
    m, width = given.shape
    flat_given, flat_made = given.reshape(-1), made.reshape(-1)
    for block in range(begin, end, width):
        rows = min(width, end - block)
        for r in range(0, rows, TURNED):
            count = min(TURNED, rows - r)
            for a in range(m):
                column, kept, shift = (
                    codes[block + r : block + r + count, features[a]],
                    given[a, r : r + count],
                    mean[a],
                )
                for t in range(count):
                    kept[t] = column[t] - shift
        if rows < width:
            given[:, rows:] = 0
        flat_made[:] = 0
        for a in range(m):
            add_rows(flat_made, a * width, weights, with_, start[a], start[a + 1], flat_given, 0)  # type: ignore[call-arg]
        for r in range(0, rows, TURNED):
            count = min(TURNED, rows - r)
            for a in range(m):
                at = slice(block + r, block + r + count)
                column, kept, out = codes[at, features[a]], made[a, r : r + count], result[at, features[a]]
                for t in range(count):
                    out[t] = kept[t] if column[t] != 0 else np.float32(0)
