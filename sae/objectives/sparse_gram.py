"""Compiled loops over the active entries of a batch of codes: products of features with features, one at a time.

Two features have a product only through rows on which both are active, so a row of the Gram matrix `FᵀF` is summed over
the rows of the batch on which its feature is active, Σ_b nnz_b² / 2 products in all. No d_sae x d_sae matrix is held:
a row [d_sae] is used and cleared. The similarity of two features is affine in their product,

    C_ij = (FᵀF)_ij · scale_i · scale_j - offset_i · offset_j

which covers the dot product, the cosine and Pearson's r (`sae.objectives.similarity`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit


class Entries(NamedTuple):
    """Active entries of codes [B, d], by row and by feature; `place` says where in `features` an entry of `rows` is."""

    row_start: np.ndarray  # int64 [B + 1]
    features: np.ndarray  # int32 [nnz], ascending in a row
    values: np.ndarray  # float32 [nnz]
    feature_start: np.ndarray  # int64 [d + 1]
    rows: np.ndarray  # int32 [nnz], ascending in a feature
    place: np.ndarray  # int64 [nnz]


def entries_of(codes: np.ndarray, most: float = np.inf) -> Entries | None:
    """Of dense codes [B, d], float32, contiguous; None where the sum over rows of their number squared is above
    `most`.
    """
    counts = _counts(codes)
    if float((counts.astype(np.float64) ** 2).sum()) > most:
        return None
    row_start, features, values = _by_row(codes, counts)
    return indexed(row_start, features, values, codes.shape[1])


def indexed(row_start: np.ndarray, features: np.ndarray, values: np.ndarray, d: int) -> Entries:
    """Of entries that are sorted by row, then feature."""
    return Entries(row_start, features, values, *by_feature(row_start, features, d))


@njit(cache=True, nogil=True)
def _counts(codes):
    n, d = codes.shape
    counts = np.zeros(n, np.int64)
    for b in range(n):
        count = 0
        for j in range(d):
            count += np.int64(codes[b, j] != 0)  # type: ignore[assignment]  # a branch would be mispredicted
        counts[b] = count
    return counts


@njit(cache=True, nogil=True)
def _by_row(codes, counts):
    n, d = codes.shape
    start = np.zeros(n + 1, np.int64)
    for b in range(n):
        start[b + 1] = start[b] + counts[b]
    features = np.empty(start[n], np.int32)
    values = np.empty(start[n], np.float32)
    place = 0
    for b in range(n):
        for j in range(d):
            v = codes[b, j]
            if v != 0:
                features[place] = j
                values[place] = v
                place += 1
    return start, features, values


@njit(cache=True, nogil=True)
def by_feature(row_start, features, d):
    """Where each feature's entries begin [d + 1], their rows (ascending in a feature), their places in `features`."""
    start = np.zeros(d + 1, np.int64)
    for e in range(len(features)):
        start[features[e] + 1] += 1
    for j in range(d):
        start[j + 1] += start[j]
    rows = np.empty(len(features), np.int32)
    place = np.empty(len(features), np.int64)
    following = start[:-1].copy()
    for b in range(len(row_start) - 1):
        for e in range(row_start[b], row_start[b + 1]):
            j = features[e]
            rows[following[j]] = b
            place[following[j]] = e
            following[j] += 1
    return start, rows, place


@njit(cache=True, nogil=True)
def _compact(value, pair, n, keep):
    """Move the `keep` largest of the first n to the front, in their order; of equal ones the first. Returns the
    smallest of them."""
    smallest = np.partition(value[:n], n - keep)[n - keep]
    above = 0
    for m in range(n):
        above += value[m] > smallest
    equal = keep - above
    kept = 0
    for m in range(n):
        take = value[m] > smallest
        if value[m] == smallest and equal > 0:
            equal -= 1
            take = True
        if take:
            value[kept] = value[m]
            pair[kept] = pair[m]
            kept += 1
    return smallest


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"}, error_model="numpy")
def _similarities(products, scale, offset, i, magnitude, lowest):
    """Make similarities of the products after i, in place; their sum, that of their squares, and how many of them, or
    of their absolute values, are above `lowest`. Without a branch, so that several are made at once."""
    total, squares, hits = 0.0, 0.0, 0
    own, own_offset = scale[i], offset[i]
    later, scales, offsets = products[i + 1 :], scale[i + 1 :], offset[i + 1 :]
    for t in range(len(later)):
        c = later[t] * (own * scales[t]) - own_offset * offsets[t]
        total += c
        squares += c * c
        c = abs(c) if magnitude else c
        later[t] = c
        hits += np.int64(c > lowest)  # type: ignore[assignment]
    return total, squares, hits


@njit(cache=True, nogil=True, error_model="numpy")
def scan(first, last, entries, scale, offset, magnitude, lowest, keep):
    """The `keep` largest similarities above `lowest` of pairs i < j with i in first..last, of equal ones the first.

    Args:
        magnitude: whether their absolute values are compared, and returned.

    Returns:
        similarity float64 [at most keep], pair int64 (i · d + j, ascending), and over all pairs of these i: the sum of
        similarities, and of their squares.
    """
    row_start, features, values, feature_start, rows, place = entries
    d = len(scale)
    products = np.zeros(d)
    size = min(2 * keep + d, max(keep, d * (d - 1) // 2) + d)
    found, pair = np.empty(size), np.empty(size, np.int64)
    n, total, squares = 0, 0.0, 0.0
    for i in range(first, last):
        for e in range(feature_start[i], feature_start[i + 1]):
            value = values[place[e]]
            for q in range(place[e] + 1, row_start[rows[e] + 1]):
                products[features[q]] += value * values[q]
        of_row, squares_of_row, hits = _similarities(products, scale, offset, i, magnitude, lowest)
        total += of_row
        squares += squares_of_row
        if hits:
            for j in range(i + 1, d):
                if products[j] > lowest:
                    found[n] = products[j]
                    pair[n] = i * d + j
                    n += 1
        products[i + 1 :] = 0.0
        if n > size - d and n > keep:
            lowest = _compact(found, pair, n, keep)
            n = keep
    if n > keep:
        _compact(found, pair, n, keep)
        n = keep
    return found[:n].copy(), pair[:n].copy(), total, squares


@njit(cache=True, nogil=True, error_model="numpy")
def strongest(which, entries, weights, allowed, scale, offset, most):
    """The `most` features that each feature of `which` has the largest absolute similarity with, itself left out.

    Args:
        weights: of the rows of the batch, float64 [B].
        allowed: bool [d], which features may be found.

    Returns:
        features int64 [len(which), most] (-1 where none has any), similarity float64 of the same shape.
    """
    row_start, features, values, feature_start, rows, place = entries
    d = len(scale)
    products = np.zeros(d)
    found = np.full((len(which), most), -1, np.int64)
    similarity = np.zeros((len(which), most))
    for number in range(len(which)):
        i = which[number]
        for e in range(feature_start[i], feature_start[i + 1]):
            b = rows[e]
            value = weights[b] * values[place[e]]
            for q in range(row_start[b], row_start[b + 1]):
                products[features[q]] += value * values[q]
        least = 0.0
        n = 0
        for j in range(d):
            c = products[j] * (scale[i] * scale[j]) - offset[i] * offset[j]
            products[j] = 0.0
            if j == i or not allowed[j] or abs(c) <= least or c == 0.0:
                continue
            m = min(n, most - 1)  # the place of the new one, from the back
            while m > 0 and abs(similarity[number, m - 1]) < abs(c):
                similarity[number, m] = similarity[number, m - 1]
                found[number, m] = found[number, m - 1]
                m -= 1
            similarity[number, m] = c
            found[number, m] = j
            n = min(n + 1, most)
            if n == most:
                least = abs(similarity[number, most - 1])
    return found, similarity


@njit(cache=True, nogil=True)
def sums(entries):
    """Sum and sum of squares of each feature, float64 [d]."""
    _, _, values, feature_start, _, place = entries
    d = len(feature_start) - 1
    total, squares = np.zeros(d), np.zeros(d)
    for j in range(d):
        for e in range(feature_start[j], feature_start[j + 1]):
            v = float(values[place[e]])
            total[j] += v
            squares[j] += v * v
    return total, squares


@njit(cache=True, nogil=True)
def times_matrix(codes, entries, start, other, weight, own, mean):
    """(F - mean)(M + diag(own)) at the active entries of F = codes [B, d], 0 elsewhere, float32.

    Args:
        start, other, weight: the symmetric matrix M by row: places int64 [d + 1], columns int64, values float64.
        own, mean: float64 [d].
    """
    row_start, features, values, _, _, _ = entries
    result = np.zeros(codes.shape, np.float32)
    d = len(own)
    shift = np.zeros(d)  # mean · (M + diag(own))
    for i in range(d):
        shift[i] = mean[i] * own[i]
        for e in range(start[i], start[i + 1]):
            shift[i] += mean[other[e]] * weight[e]
    for b in range(len(row_start) - 1):
        for q in range(row_start[b], row_start[b + 1]):
            i = features[q]
            total = values[q] * own[i] - shift[i]
            for e in range(start[i], start[i + 1]):
                total += codes[b, other[e]] * weight[e]
            result[b, i] = total
    return result
