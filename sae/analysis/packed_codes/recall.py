"""Exact cosine search over dense vectors, and how much of it a search over their codes finds."""

from __future__ import annotations

import numpy as np

from sae.common.errors import UserError

from .codes import BinaryCodes
from .search import CodeIndex, merged

_ROWS_AT_ONCE = 1 << 16
_QUERIES_AT_ONCE = 256


def cosine_top(x: np.ndarray, queries: np.ndarray, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `x` with the largest cosine to each query, block after block; ties to the lower row.

    Products are float32. A row of zeros has cosine 0 with everything.

    Args:
        x: [n, d], any float, memory-mapped or not.
        queries: [n_queries, d].

    Returns:
        rows int64 [n_queries, k'] and cosines float32 [n_queries, k'], largest first; k' is k or n if that is less.

    Raises:
        UserError: for k below 1, no rows, or other dimensions.
    """
    if k < 1:
        raise UserError(f"the number of nearest rows must be at least 1, not {k}")
    if x.ndim != 2 or queries.ndim != 2 or not len(x) or x.shape[1] != queries.shape[1]:
        raise UserError(f"rows of shape {x.shape} can't be searched with queries of shape {queries.shape}")
    k = min(k, len(x))
    rows, cosines = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for first in range(0, len(queries), _QUERIES_AT_ONCE):
        asked = _unit(queries[first : first + _QUERIES_AT_ONCE])
        best = (np.empty((len(asked), 0), np.int64), np.empty((len(asked), 0), np.float32))
        for low in range(0, len(x), _ROWS_AT_ONCE):
            away = -(asked @ _unit(x[low : low + _ROWS_AT_ONCE]).T)
            if away.shape[1] > k:
                # All that are as near as the k-th: which of them count is decided by their rows.
                kth = np.partition(away, k - 1, axis=1)[:, k - 1 : k]
                width = int((away <= kth).sum(axis=1).max())
                places = np.argsort(np.where(away <= kth, away, np.inf), axis=1, kind="stable")[:, :width]
                best = merged([best, (places + low, np.take_along_axis(away, places, 1))], k)
            else:
                places = np.broadcast_to(np.arange(low, low + away.shape[1]), away.shape)
                best = merged([best, (places, away)], k)
        rows[first : first + len(asked)], cosines[first : first + len(asked)] = best[0], -best[1]
    return rows, cosines


def recall_at(
    codes: BinaryCodes, x: np.ndarray, queries: np.ndarray, k: int = 10, distance: str = "hamming"
) -> np.ndarray:
    """For each query the share of its k nearest rows by cosine that are among the k nearest by their codes.

    A query is a row of both and is not its own neighbour. Equally near rows count in their order, in both.

    Args:
        codes, x: the codes of the rows, and the rows [n, d].
        queries: [n_queries], rows.
        distance: of the codes, see `CodeIndex.search`.

    Returns:
        float64 [n_queries].

    Raises:
        UserError: if codes and rows are not as many, fewer than k + 1, or a query is none of them.
    """
    queries = np.asarray(queries, np.int64)
    if len(codes) != len(x):
        raise UserError(f"{len(codes):,} codes can't be those of {len(x):,} rows")
    if not 1 <= k < len(x):
        raise UserError(f"recall at {k} needs at least {k + 1} rows, and k at least 1; there are {len(x):,}")
    if len(queries) and not (queries.min() >= 0 and queries.max() < len(x)):
        raise UserError(f"a query is outside the rows 0 to {len(x) - 1:,}")
    near = _others(cosine_top(x, x[queries], k + 1)[0], queries)
    found = _others(CodeIndex(codes).search(codes.take(queries), k + 1, distance)[0], queries)
    return (near[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1)


def _others(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Without the query itself: k of k + 1. Where it isn't among them they are all as near, and the last one goes."""
    own = rows == queries[:, None]
    own[~own.any(axis=1), -1] = True
    return rows[~own].reshape(len(rows), -1)


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-12))
