"""The strongest rows of every feature at once, for tables that show or search examples of all features."""

from __future__ import annotations

import numpy as np

from sae.analysis.codes import FeatureActivations


def top_rows(codes: FeatureActivations, n: int = 3, example: np.ndarray | None = None) -> np.ndarray:
    """int64 [d_sae, n]: the rows of largest |activation| of each feature, falling, ties by row; -1 fills the rest.

    Args:
        example: int [n_rows]; if given, an example stands once, by its strongest row.
    """
    owner = np.repeat(np.arange(codes.d_sae), codes.n_active)
    rows = codes.feature_rows.astype(np.int64)
    order = np.lexsort((rows, -np.abs(codes.feature_values), owner))
    owner, rows = owner[order], rows[order]
    if example is not None:
        key = np.stack([owner, np.asarray(example)[rows]])
        _, first = np.unique(key, axis=1, return_index=True)
        kept = np.sort(first)
        owner, rows = owner[kept], rows[kept]
    counts = np.bincount(owner, minlength=codes.d_sae)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((codes.d_sae, n), -1, np.int64)
    chosen = rank < n
    found[owner[chosen], rank[chosen]] = rows[chosen]
    return found
