"""Which feature of another SAE is the same one: matched one to one by phi of what they are active on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

CANDIDATES = 32
_BLOCK_ENTRIES = 16_000_000  # correlations held at once: 64 MB of float32


@dataclass(frozen=True)
class Match:
    """`features`: a line a living feature of the first SAE with `feature`, `partner` (one-to-one, -1 for none), `phi`
    (with it, 0 without), `nearest` and `nearest_phi` (the largest phi with any feature of the other). `living`: how
    many features of the other live.
    """

    features: pd.DataFrame
    living: int

    @property
    def matched(self) -> float:
        """Mean phi of the one-to-one match, over living features."""
        return float(self.features["phi"].mean()) if len(self.features) else float("nan")

    @property
    def nearest(self) -> float:
        """Mean over living features of their largest phi with any feature of the other."""
        return float(self.features["nearest_phi"].mean()) if len(self.features) else float("nan")


def match(one: FeatureActivations, other: FeatureActivations, candidates: int = CANDIDATES) -> Match:
    """Match living features one to one so that the sum of their phi is largest (Hungarian assignment).

    phi is the correlation of being active, over the rows that both have. Only the `candidates` largest positive phi of
    each feature, of either SAE, are offered to the assignment, and staying alone at phi 0: with all of them a match of
    8,192 features would take minutes and half a gigabyte. A feature that is active on no row or on all has no phi.

    Raises:
        UserError: if they are not of the same rows, or candidates is below 1.
    """
    import pandas as pd
    from scipy.sparse import coo_matrix, csr_matrix, hstack
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if one.n_rows != other.n_rows:
        raise UserError(f"feature activations of {one.n_rows:,} and of {other.n_rows:,} rows can't be matched")
    if candidates < 1:
        raise UserError(f"candidates {candidates} must be at least 1")
    mine, theirs = _living(one), _living(other)
    if not len(mine) or not len(theirs):
        columns = ["feature", "partner", "phi", "nearest", "nearest_phi"]
        return Match(pd.DataFrame({name: np.zeros(len(mine)) for name in columns}), len(theirs))
    a, b = _active(one, mine), _active(other, theirs)
    forth, back = _largest(a, b, candidates)
    line = np.concatenate([np.repeat(np.arange(len(mine)), forth[0].shape[1]), back[0].ravel()])
    column = np.concatenate([forth[0].ravel(), np.repeat(np.arange(len(theirs)), back[0].shape[1])])
    phi = np.concatenate([forth[1].ravel(), back[1].ravel()])
    kept = phi > 0
    key, first = np.unique(line[kept].astype(np.int64) * len(theirs) + column[kept], return_index=True)
    phi = phi[kept][first].astype(np.float64)
    offered = coo_matrix((2 - phi, (key // len(theirs), key % len(theirs))), shape=(len(mine), len(theirs)))
    # A column of its own for each feature, at the cost of phi 0: then there always is a full matching.
    alone = coo_matrix((np.full(len(mine), 2.0), (np.arange(len(mine)), np.arange(len(mine)))))
    chosen = min_weight_full_bipartite_matching(csr_matrix(hstack([offered, alone])))[1]
    together = chosen < len(theirs)
    table = csr_matrix((phi, (key // len(theirs), key % len(theirs))), shape=offered.shape)
    found = np.zeros(len(mine))
    found[together] = np.asarray(table[np.flatnonzero(together), chosen[together]]).ravel()
    best = forth[1].argmax(axis=1)
    at = np.arange(len(mine))
    features = pd.DataFrame(
        {
            "feature": mine.astype(np.int32),
            "partner": np.where(together, theirs[np.where(together, chosen, 0)], -1).astype(np.int32),
            "phi": found,
            "nearest": theirs[forth[0][at, best]].astype(np.int32),
            "nearest_phi": forth[1][at, best].astype(np.float64),
        }
    )
    return Match(features, len(theirs))


def rows_permuted(codes: FeatureActivations, seed: int) -> FeatureActivations:
    """The same codes on rows in another order: what matches them is chance."""
    order = np.random.default_rng(seed).permutation(codes.n_rows)
    shuffled = codes.csr()[order]
    return FeatureActivations.from_rows(shuffled.indptr, shuffled.indices, shuffled.data, codes.d_sae)


def _living(codes: FeatureActivations) -> np.ndarray:
    return np.flatnonzero((codes.n_active > 0) & (codes.n_active < codes.n_rows))


def _active(codes: FeatureActivations, features: np.ndarray) -> csr_matrix:
    """[features, n_rows], 1 where active."""
    from scipy.sparse import csr_matrix

    every = codes.csc()
    ones = np.ones(len(every.data), np.float32)
    return csr_matrix((ones, every.indices, every.indptr), shape=(codes.d_sae, codes.n_rows))[features]


def _largest(a: csr_matrix, b: csr_matrix, count: int) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The `count` largest phi of each line of a [p, n] with the lines of b [q, n], and of each line of b with those of
    a: which line (int64) and phi (float32), [p, count] each and [q, count] each. `count` is cut to what there is.
    """
    n = a.shape[1]
    rate_a, rate_b = (np.diff(part.indptr) / n for part in (a, b))
    spread_a, spread_b = (np.sqrt(rate * (1 - rate)).astype(np.float32) for rate in (rate_a, rate_b))
    rate_a, rate_b = rate_a.astype(np.float32), rate_b.astype(np.float32)
    turned = b.T.tocsr()
    step = max(1, _BLOCK_ENTRIES // b.shape[0])
    forth, back = [], (np.empty((0, b.shape[0]), np.int64), np.empty((0, b.shape[0]), np.float32))
    for start in range(0, a.shape[0], step):
        block = slice(start, min(start + step, a.shape[0]))
        phi = (a[block] @ turned).toarray()
        phi /= n
        phi -= rate_a[block, None] * rate_b
        phi /= spread_a[block, None]
        phi /= spread_b
        top = _top(phi, count, axis=1)
        forth.append((top, np.take_along_axis(phi, top, axis=1)))
        # the largest of a column so far beside this block's
        line = np.broadcast_to(np.arange(block.start, block.stop)[:, None], phi.shape)
        phi, line = np.concatenate([back[1], phi]), np.concatenate([back[0], line])
        top = _top(phi, count, axis=0)
        back = np.take_along_axis(line, top, axis=0), np.take_along_axis(phi, top, axis=0)
    which, phi = (np.concatenate([part[at] for part in forth]) for at in (0, 1))
    return (which, phi), (back[0].T, back[1].T)


def _top(values: np.ndarray, count: int, axis: int) -> np.ndarray:
    """Places of the `count` largest along an axis, or of all where there are no more."""
    if values.shape[axis] <= count:
        shape = [1, 1]
        shape[axis] = -1
        return np.broadcast_to(np.arange(values.shape[axis]).reshape(shape), values.shape)
    return np.take(np.argpartition(values, -count, axis=axis), range(-count, 0), axis=axis)
