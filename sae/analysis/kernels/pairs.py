"""Compiled loops over rows and the pairs of features that are active on them: n K² / 2 products, exact counts.

Two sparse matrix products would do the same; they sort and allocate for what is nearly a full matrix, and take some
ten times as long.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Entries by row: where each row's begin [n_rows + 1], the features' places, ascending in a row, and values.
ByRow = tuple[np.ndarray, np.ndarray, np.ndarray]
#: Entries by feature: where each feature's begin [d_sae + 1], rows and values.
ByFeature = tuple[np.ndarray, np.ndarray, np.ndarray]


@njit(cache=True, nogil=True)
def by_row(n_rows, place, indptr, rows, values):
    """Entries of the features whose `place` [d_sae] is not -1, sorted by row: a `ByRow`."""
    start = np.zeros(n_rows + 1, np.int64)
    for j in range(len(place)):
        if place[j] >= 0:
            for at in range(indptr[j], indptr[j + 1]):
                start[rows[at] + 1] += 1
    for i in range(n_rows):
        start[i + 1] += start[i]
    features, found = np.empty(start[n_rows], np.int32), np.empty(start[n_rows], np.float32)
    following = start[:-1].copy()
    for j in range(len(place)):
        if place[j] >= 0:
            for at in range(indptr[j], indptr[j + 1]):
                i = rows[at]
                features[following[i]] = place[j]
                found[following[i]] = values[at]
                following[i] += 1
    return start, features, found


def products_of(
    block: np.ndarray, first: int, n_kept: int, entries: ByFeature, sorted_rows: ByRow
) -> tuple[np.ndarray, np.ndarray]:
    """Of each feature a of `block` with those of higher place: rows on which both are active (int32), and the sum of
    products (float64), [len(block), n_kept - first]; entry (i, j) is of places first + i and first + j, 0 for j <= i.

    Args:
        block: features whose places are first, first + 1, ...
        n_kept: how many features have a place.
    """
    both = np.zeros((len(block), n_kept - first), np.int32)
    products = np.zeros((len(block), n_kept - first))
    _products(block, first, *entries, *sorted_rows, both, products)
    return both, products


@njit(cache=True, nogil=True)
def _products(block, first, indptr, rows, values, row_start, features, row_values, both, products):
    for i in range(len(block)):
        j, own = block[i], first + i
        count, total = both[i], products[i]
        for at in range(indptr[j], indptr[j + 1]):
            v = np.float64(values[at])
            row = rows[at]
            place = row_start[row + 1] - 1
            while place >= row_start[row] and features[place] > own:
                other = features[place] - first
                count[other] += 1
                total[other] += v * np.float64(row_values[place])
                place -= 1
