"""Coherence: how alike are the rows on which a feature is active, beside rows at large?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_BLOCK_VALUES = 16_000_000  # numbers gathered at once: 128 MB


def coherence(codes: FeatureActivations, x: np.ndarray, group: np.ndarray | None = None) -> pd.DataFrame:
    """Mean pairwise cosine of a feature's active rows, less that of all rows, exactly and without going over pairs.

    With unit rows u_i and S their sum over a set of n, the n (n - 1) ordered pairs have cosines that sum to
    ‖S‖² - n. Pairs within a group (synonyms of one concept, tokens of one text) are alike for a reason of their own:
    pairs of different groups alone sum to ‖S‖² - Σ_g ‖S_g‖², and there are n² - Σ_g n_g² of them.

    Args:
        x: rows [n_rows, d_in] that the feature activations are of; a row of zeros has cosine 0 with all others.
        group: int [n_rows], from 0; None: every row is its own.

    Returns:
        A line a feature: `feature`, `n_rows` (active), `cosine` and `coherence` (over all pairs of rows), and
        `cosine_between` and `coherence_between` (over pairs of rows of different groups); NaN where there is no pair.

    Raises:
        UserError: if the rows don't fit.
    """
    import pandas as pd

    if len(x) != codes.n_rows:
        raise UserError(f"{len(x):,} rows don't fit feature activations of {codes.n_rows:,}")
    of = np.arange(codes.n_rows) if group is None else np.asarray(group)
    unit = _unit(x)
    every = np.arange(codes.n_rows)
    whole = _pairs(unit, of, every, np.array([0, codes.n_rows]))
    step = max(1, _BLOCK_VALUES // max(unit.shape[1], 1))
    parts = []
    start = 0
    while start < codes.d_sae:  # features whose active rows fit into a block, one at least
        limit = codes.feature_indptr[start] + step
        stop = int(np.searchsorted(codes.feature_indptr, limit, side="right")) - 1
        stop = max(start + 1, min(stop, start + step))
        indptr = codes.feature_indptr[start : stop + 1]
        rows = codes.feature_rows[indptr[0] : indptr[-1]]
        parts.append(_pairs(unit, of, rows, indptr - indptr[0]))
        start = stop
    cosine, between = (np.concatenate([part[at] for part in parts]) for at in (0, 1))
    return pd.DataFrame(
        {
            "feature": np.arange(codes.d_sae, dtype=np.int32),
            "n_rows": codes.n_active,
            "cosine": cosine,
            "coherence": cosine - whole[0][0],
            "cosine_between": between,
            "coherence_between": between - whole[1][0],
        }
    )


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1, float64; rows of zeros stay."""
    rows = np.asarray(x, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _pairs(unit: np.ndarray, of: np.ndarray, rows: np.ndarray, indptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine of the pairs of each segment rows[indptr[j]:indptr[j + 1]], of all and of those between groups."""
    from scipy.sparse import csr_matrix

    lengths = np.diff(indptr)
    n = lengths.astype(np.float64)
    owner = np.repeat(np.arange(len(n)), lengths)
    total = csr_matrix((np.ones(len(rows)), rows, indptr), shape=(len(n), len(unit))) @ unit
    square = np.einsum("ij,ij->i", total, total)
    length = np.einsum("ij,ij->i", unit, unit)[rows]  # 1, or 0 for a row of zeros
    own = np.bincount(owner, length, len(n))
    order = np.lexsort((of[rows], owner))
    rows, owner, length = rows[order], owner[order], length[order]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(owner) > 0) | (np.diff(of[rows]) != 0)
    first = np.flatnonzero(new)
    n_group = np.diff(np.append(first, len(rows)))
    n_within = np.bincount(owner[first], n_group.astype(np.float64) ** 2, len(n))
    # Most groups have one row in a feature, and are its length; those of several have a sum of their own.
    several = np.repeat(n_group > 1, n_group)
    within = np.bincount(owner[~several], length[~several], len(n))
    if several.any():
        starts = np.flatnonzero(new[several])
        sums = np.add.reduceat(unit[rows[several]], starts, axis=0)
        within = within + np.bincount(owner[several][starts], np.einsum("ij,ij->i", sums, sums), len(n))
    with np.errstate(invalid="ignore", divide="ignore"):
        every = np.where(n > 1, (square - own) / (n * (n - 1)), np.nan)
        between = np.where(n * n > n_within, (square - within) / (n * n - n_within), np.nan)
    return every, between
