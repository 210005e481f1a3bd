"""What every pair of features is measured by: their products over rows, a block of features at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError

MEASURES = ("pearson", "phi", "jaccard", "lift", "cosine")
BLOCK_ENTRIES = 16_000_000  # products held at once: 192 MB with their counts


def check_request(by: str, top: int, least: float) -> None:
    """Raises UserError for a measure that pairs can't be ranked by, or a number that must be positive."""
    if by not in MEASURES:
        raise UserError(f"pairs can be ranked by {', '.join(MEASURES)}, not {by!r}")
    if top < 1 or least <= 0:
        raise UserError("the number of pairs and the least support must be positive")


def pair_blocks(
    codes: FeatureActivations, min_support: int, min_expected: float = 0.0, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Every pair a < b of living features with n_both >= min_support, or with `min_support` 0 every pair
    with the expected number at or above `min_expected`; as (a, b, n_both, G) arrays, a block of a's at a
    time.

    `rows` replaces codes.feature_rows (a permutation's).
    """
    from sae.analysis.kernels.pairs import by_row, products_of

    need = max(min_support, 1)
    if min_expected:
        need = max(1, int(min_expected * codes.n_rows / max(codes.n_active.max(initial=1), 1)))
    kept = np.flatnonzero(codes.n_active >= need)  # no pair of a rarer feature can qualify
    if len(kept) < 2:
        return
    place = np.full(codes.d_sae, -1, np.int64)
    place[kept] = np.arange(len(kept))
    entries = (codes.feature_indptr, codes.feature_rows if rows is None else rows, codes.feature_values)
    sorted_rows = by_row(codes.n_rows, place, *entries)
    counts = codes.n_active[kept]
    step = max(1, BLOCK_ENTRIES // len(kept))
    for start in range(0, len(kept), step):
        stop = min(start + step, len(kept))
        both, products = products_of(kept[start:stop], start, len(kept), entries, sorted_rows)
        if min_support:
            a, b = np.nonzero(both >= min_support)
        else:
            expected = np.outer(counts[start:stop], counts[start:]) / codes.n_rows
            a, b = np.nonzero(np.triu(expected >= min_expected, 1))
        yield kept[a + start], kept[b + start], both[a, b].astype(np.int64), products[a, b]


def pearson_of(codes: FeatureActivations, a: np.ndarray, b: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Pearson's r of features `a` and `b` [n_pairs], from the sums of their products over rows; NaN without spread."""
    n = max(codes.n_rows, 1)
    spread = codes.squares - codes.sums**2 / n
    # what rounding leaves of a feature that does not vary is no spread
    spread = np.where(spread > 1e-12 * codes.squares, spread, np.nan)
    root = np.sqrt(spread)
    mean_root = codes.sums / np.sqrt(n)
    return np.clip((products - mean_root[a] * mean_root[b]) / (root[a] * root[b]), -1.0, 1.0)


def numbered(codes: FeatureActivations, example: np.ndarray | None) -> tuple[np.ndarray, int]:
    """int [n_rows], examples renumbered from 0 in ascending order, and how many there are."""
    if example is None:
        return np.arange(codes.n_rows), codes.n_rows
    if np.shape(example) != (codes.n_rows,):
        raise UserError(f"example has shape {np.shape(example)}; these activations have {codes.n_rows} rows")
    known, number = np.unique(np.asarray(example), return_inverse=True)
    return number, len(known)
