"""How far a pair's correlation is to be trusted: an interval of one, and what all pairs reach by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.analysis.codes import FeatureActivations
from sae.analysis.pair_products import check_request, numbered, pair_blocks, pearson_of
from sae.common.errors import UserError
from sae.common.progress import Progress, Silent


@dataclass(frozen=True)
class PairInterval:
    """Pearson's r of a pair with a percentile interval. NaN where r does not exist."""

    pearson: float
    low: float
    high: float
    level: float
    n_examples: int
    n_boot: int


def pair_interval(
    codes: FeatureActivations,
    a: int,
    b: int,
    example: np.ndarray | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairInterval:
    """A bootstrap interval of r by example: all rows of an example are drawn together.

    Resamples in which a feature does not vary are left out of the percentiles; if fewer than half are left
    the interval is NaN.

    Args:
        example: int [n_rows]; None: every row is its own example.

    Raises:
        UserError: if one of the features does not exist or `example` does not fit the rows.
    """
    (rows_a, values_a), (rows_b, values_b) = codes.feature(a), codes.feature(b)
    number, n_examples = numbered(codes, example)
    x, y = np.zeros(codes.n_rows), np.zeros(codes.n_rows)
    x[rows_a], y[rows_b] = values_a, values_b
    # per example: rows, sums, squares and products; r of a resample needs only their weighted sums
    moments = np.column_stack([np.bincount(number, w, minlength=n_examples) for w in (None, x, y, x * x, y * y, x * y)])
    rng = np.random.default_rng(seed)
    resampled = np.empty((n_boot, 6))
    step = max(1, 4_000_000 // max(n_examples, 1))
    for start in range(0, n_boot if n_examples else 0, step):
        draws = min(step, n_boot - start)
        drawn = rng.integers(n_examples, size=(draws, n_examples))
        weights = np.stack([np.bincount(one, minlength=n_examples) for one in drawn])
        resampled[start : start + draws] = weights.astype(np.float64) @ moments
    whole = float(_from_moments(moments.sum(axis=0)[None])[0])
    r = _from_moments(resampled) if n_examples else np.array([])
    r = r[np.isfinite(r)]
    low, high = np.nan, np.nan
    if np.isfinite(whole) and len(r) >= n_boot / 2 and len(r):
        low, high = np.quantile(r, [(1 - level) / 2, (1 + level) / 2])
    return PairInterval(whole, float(low), float(high), level, n_examples, n_boot)


@dataclass(frozen=True)
class PermutationMaximum:
    """How far r goes by chance among all pairs at once.

    `bound` is the `level` bound on the largest |r| of any supported pair when each feature's examples are
    permuted by
    themselves: a pair beyond it beats chance with the family-wise error at 1 - level. `maxima` [n]: the
        largest |r|
    of each permutation.
    """

    bound: float
    level: float
    maxima: np.ndarray
    min_support: int
    n_examples: int


def permutation_maximum(
    codes: FeatureActivations,
    example: np.ndarray | None = None,
    n: int = 19,
    seed: int = 0,
    min_support: int = 5,
    level: float = 0.95,
    progress: Progress | None = None,
) -> PermutationMaximum:
    """The largest |r| that pairs reach when features have nothing to do with each other.

    In each permutation every feature's examples change places independently, the rows of one example staying
    together and in their order, so how often a feature fires and its clumps within an example are kept and
    all relation between features is broken. (Examples of different lengths are laid end to end in the new
    order.) Pairs need `min_support` rows together, as in `correlated_pairs`. The number of features on a
    row is not kept: for top-K codes this null is a little wide on the negative side.

    Args:
        n: permutations. 19 is the least that can give a 95 % bound (the largest of 19).

    Raises:
        UserError: if `n` can't give the level, or `example` does not fit the rows.
    """
    place = int(np.ceil(round(level * (n + 1), 6)))  # of the sorted maxima: the exact level of a Monte Carlo test
    if n < 1 or place > n:
        least = int(np.ceil(round(1 / (1 - level), 6))) - 1
        raise UserError(f"{n} permutations can't give a {level:.0%} bound; take {least} or more")
    check_request("pearson", 1, min_support)
    number, n_examples = numbered(codes, example)
    rows = codes.feature_rows
    order = np.argsort(number, kind="stable")  # rows of an example laid side by side, in their order
    lengths = np.bincount(number, minlength=n_examples)
    starts = np.cumsum(lengths) - lengths
    rank = np.empty(codes.n_rows, np.int64)
    rank[order] = np.arange(codes.n_rows)
    which = number[rows]
    within = rank[rows] - starts[which]
    even = n_examples > 0 and bool((lengths == lengths[0]).all())
    rng = np.random.default_rng(seed)
    maxima = np.zeros(n)
    progress = progress or Silent()
    for turn in range(n):
        moved = np.empty(len(rows), np.int64)
        for j in np.flatnonzero(codes.n_active):
            span = slice(codes.feature_indptr[j], codes.feature_indptr[j + 1])
            if even:  # new places for the examples on which it is active are all that matters
                active, member = np.unique(which[span], return_inverse=True)
                new_starts = rng.choice(n_examples, len(active), replace=False) * lengths[0]
                moved[span] = new_starts[member] + within[span]
                continue
            shuffled = rng.permutation(n_examples)
            new_starts = np.empty(n_examples, np.int64)
            new_starts[shuffled] = np.cumsum(lengths[shuffled]) - lengths[shuffled]
            moved[span] = new_starts[which[span]] + within[span]
        for a, b, _, products in pair_blocks(codes, min_support, rows=moved):
            r = np.abs(pearson_of(codes, a, b, products))
            if np.isfinite(r).any():
                maxima[turn] = max(maxima[turn], float(np.nanmax(r)))
        progress.update(turn + 1, n, "permutations")
    return PermutationMaximum(float(np.sort(maxima)[place - 1]), level, maxima, min_support, n_examples)


def _from_moments(moments: np.ndarray) -> np.ndarray:
    """r from lines of (rows, sum x, sum y, sum x^2, sum y^2, sum xy)."""
    n, x, y, xx, yy, xy = moments.T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        varies = (spread_x > 1e-12 * xx) & (spread_y > 1e-12 * yy)
        return np.where(varies, np.clip((xy - x * y / n) / np.sqrt(spread_x * spread_y), -1, 1), np.nan)
