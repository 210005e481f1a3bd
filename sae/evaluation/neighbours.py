"""Recall of nearest neighbours: those that a code finds, against the exact ones of the dense rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def cosine(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32 [q, n]; 0 with a row of zeros."""
    return _unit(queries) @ _unit(rows).T


def exact_neighbours(similarity: np.ndarray, own: np.ndarray, count: int) -> np.ndarray:
    """int64 [q, count]: the most similar rows of each query, by falling similarity, never the query itself.

    Args:
        similarity: [q, n]. own: int [q], which row each query is.
    """
    found = _without(similarity, own)
    top = np.argpartition(found, -count, axis=1)[:, -count:]
    return np.take_along_axis(top, np.argsort(-np.take_along_axis(found, top, 1), axis=1, kind="stable"), 1)


def recall(similarity: np.ndarray, own: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Share of the `wanted` rows [q, count] that are among the `count` most similar ones, [q].

    Codes of a few bits often are equally far from a query: where rows tie for the last places, each has its fair share
    of them, which is the recall that drawing among them has on average.
    """
    found, count = _without(similarity, own), wanted.shape[1]
    last = np.partition(found, -count, axis=1)[:, -count][:, None]
    above, tied = found > last, found == last
    share = (count - above.sum(1)) / tied.sum(1)
    hits = np.take_along_axis(above, wanted, 1).sum(1) + share * np.take_along_axis(tied, wanted, 1).sum(1)
    return hits / count


def shared_bits(queries: csr_matrix, rows: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """float64 [q, n] each, of bits [.., N]: how many are on in both, and in either."""
    both = (_ones(queries) @ _ones(rows).T).toarray()
    on = np.diff(queries.indptr)[:, None] + np.diff(rows.indptr)
    return both, on - both


def hamming(queries: csr_matrix, rows: csr_matrix) -> np.ndarray:
    """Less the number of bits that differ, float64 [q, n]."""
    both, either = shared_bits(queries, rows)
    return both - either


def jaccard(queries: csr_matrix, rows: csr_matrix) -> np.ndarray:
    """Bits on in both over bits on in either, float64 [q, n]; 1 where none is on in either."""
    both, either = shared_bits(queries, rows)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def sparse_cosine(queries: csr_matrix, rows: csr_matrix) -> np.ndarray:
    """Cosine of sparse codes [.., N], float64 [q, n]; 0 with an empty one."""
    from scipy.sparse.linalg import norm

    product = (queries.astype(np.float64) @ rows.astype(np.float64).T).toarray()
    norms = norm(queries.astype(np.float64), axis=1)[:, None] * norm(rows.astype(np.float64), axis=1)
    return product / np.where(norms > 0, norms, 1)


def _ones(codes: csr_matrix) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((np.ones(len(codes.data)), codes.indices, codes.indptr), shape=codes.shape)


def _unit(x: np.ndarray) -> np.ndarray:
    rows = np.asarray(x, np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _without(similarity: np.ndarray, own: np.ndarray) -> np.ndarray:
    found = np.array(similarity)
    found[np.arange(len(found)), own] = -np.inf
    return found
