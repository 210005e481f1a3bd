"""Which features fire together, and which avoid each other: exact, from sparse products, in bounded memory.

With n rows, n_a rows on which feature a is active, S_a the sum and Q_a the sum of squares of its values,
C_ab the rows on which both are active and G_ab the sum of their products:

    Pearson over all rows, zeros included   (G - S_a S_b / n) / sqrt((Q_a - S_a^2 / n) (Q_b - S_b^2 / n))
    phi (Pearson of on and off)             (n C - n_a n_b) / sqrt(n_a n_b (n - n_a) (n - n_b))
    Jaccard                                 C / (n_a + n_b - C)
    lift                                    n C / (n_a n_b)
    cosine of activations                   G / sqrt(Q_a Q_b)

Only pairs that are active together have C or G above zero, so the products X'X and B'B of sparse matrices
hold all there is: n K^2 multiplications instead of n d^2. For a pair that is never active together r is the
closed form -S_a S_b / (n sqrt(...)); such pairs are ranked by `anticorrelated_pairs`.

Rows of one example are not independent, and a top-K code selects exactly K features on each row, so
features are slightly negatively correlated by construction. The p-values assume independent rows;
`permutation_maximum` and `pair_interval` work by example.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.analysis.codes import FeatureActivations, segment_sums
from sae.common.errors import UserError
from sae.common.false_discovery import benjamini_hochberg
from sae.common.progress import Progress, Silent

MEASURES = ("pearson", "phi", "jaccard", "lift", "cosine")
PAIR_ENTRIES = 2**23  # activations that a run's pairs are counted on: with more of them, those of evenly spread rows
_BLOCK_ENTRIES = 16_000_000  # products held at once: 128 MB in float64


def correlated_pairs(
    codes: FeatureActivations,
    *,
    top: int = 2000,
    min_support: int = 5,
    by: str = "pearson",
    example: np.ndarray | None = None,
    W_dec: np.ndarray | None = None,
) -> pd.DataFrame:
    """The `top` pairs of largest |`by`| among those active together on at least `min_support` rows.

    A negative r stands here where two features do fire together but with opposite signs, or less than by
    chance.

    Args:
        by: "pearson", "phi", "jaccard", "lift" or "cosine"; equal ones stand in the order of the pair.
        example: int [n_rows]; if given, the column n_examples_both counts distinct examples.
        W_dec: [d_sae, d_in] for decoder_cosine (else NaN).

    Returns:
        a < b, n_a, n_b, n_both, expected (rows together under independence, n_a n_b / n), pearson, phi,
        jaccard, lift, cosine, decoder_cosine, p_value (hypergeometric, P(together >= n_both | n, n_a,
        n_b)), q_value (Benjamini-Hochberg over all pairs of living features, d (d - 1) / 2 tests; a pair
        that is not listed counts as p = 1, so q is never too small).

    Raises:
        UserError: for an unknown measure, or a `top` or `min_support` below 1.
    """
    _check_request(by, top, min_support)
    best = _Best(top)
    for a, b, both, products in _blocks(codes, min_support):
        best.add(a, b, both, products, np.abs(_measures(codes, a, b, both, products)[by]))
    return _table(codes, best, by, "upper", example, W_dec)


def anticorrelated_pairs(
    codes: FeatureActivations,
    *,
    top: int = 2000,
    min_expected: float = 5.0,
    by: str = "pearson",
    example: np.ndarray | None = None,
    W_dec: np.ndarray | None = None,
) -> pd.DataFrame:
    """The `top` pairs of most negative `by` among those that chance would bring together `min_expected`
    times.

    Pairs that are never active together count. The bar on the expected number (n_a n_b / n) keeps out pairs
    too rare for their absence to mean anything.

    Args:
        by: "pearson" or "phi".

    Returns:
        The columns of `correlated_pairs`; here p_value is the lower tail, P(together <= n_both).

    Raises:
        UserError: for another measure, or a `top` or `min_expected` that is not positive.
    """
    if by not in ("pearson", "phi"):
        raise UserError(f"pairs that avoid each other are ranked by pearson or phi, not {by!r}")
    _check_request(by, top, min_expected)
    best = _Best(top)
    for a, b, both, products in _blocks(codes, 0, min_expected):
        value = _measures(codes, a, b, both, products)[by]
        negative = value < 0
        best.add(a[negative], b[negative], both[negative], products[negative], -value[negative])
    return _table(codes, best, by, "lower", example, W_dec)


def top_partners(codes: FeatureActivations, feature: int, n: int = 10) -> pd.DataFrame:
    """The features most and least correlated with one feature, from one pass over the rows where it is
    active.

    Returns:
        Up to `n` with the largest positive r, then up to `n` with the most negative r (never active together
        included): feature, sign ("positive" or "negative"), n_active, n_both, expected, pearson, phi,
        jaccard, lift, cosine. Empty for a feature that does not vary.

    Raises:
        UserError: if there is no such feature.
    """
    both, products = _against_all(codes, feature)
    other = np.flatnonzero((codes.n_active > 0) & (np.arange(codes.d_sae) != feature))
    own = np.full(len(other), feature)
    found = _measures(codes, own, other, both[other], products[other])
    r = found["pearson"]
    order = np.argsort(-r, kind="stable")
    order = order[np.isfinite(r[order])]
    positive, negative = order[r[order] > 0][:n], order[r[order] < 0][::-1][:n]
    chosen = np.concatenate([positive, negative])
    return pd.DataFrame(
        {
            "feature": other[chosen].astype(np.int32),
            "sign": ["positive"] * len(positive) + ["negative"] * len(negative),
            "n_active": codes.n_active[other[chosen]],
            "n_both": both[other[chosen]],
            "expected": codes.n_active[feature] * codes.n_active[other[chosen]] / max(codes.n_rows, 1),
            **{name: column[chosen] for name, column in found.items()},
        }
    )


def pearson_block(codes: FeatureActivations, features: np.ndarray) -> np.ndarray:
    """float64 [m, m]: Pearson over all rows among the given features, in that order.

    The diagonal is 1; the row and column of a feature that does not vary are NaN.

    Raises:
        UserError: if one of the features does not exist.
    """
    features = np.asarray(features, np.int64).reshape(-1)
    for j in features:
        codes.feature(int(j))
    if not len(features):
        return np.zeros((0, 0))
    part = codes.csc()[:, features].astype(np.float64)
    products = (part.T @ part).toarray()
    a, b = (grid.reshape(-1) for grid in np.meshgrid(features, features, indexing="ij"))
    block = _pearson(codes, a, b, products.reshape(-1)).reshape(products.shape)
    np.fill_diagonal(block, np.where(np.isnan(np.diag(block)), np.nan, 1.0))
    return block


def pair_rows(codes: FeatureActivations, a: int, b: int) -> pd.DataFrame:
    """The rows on which a or b is active, ascending: row, value_a, value_b (0 where not active), which.

    `which` is "both", "only a" or "only b". Rows on which neither is active are the rest of codes.n_rows.

    Raises:
        UserError: if one of the features does not exist.
    """
    (rows_a, values_a), (rows_b, values_b) = codes.feature(a), codes.feature(b)
    rows = np.union1d(rows_a, rows_b)
    values = np.zeros((2, len(rows)), np.float32)
    values[0, np.searchsorted(rows, rows_a)] = values_a
    values[1, np.searchsorted(rows, rows_b)] = values_b
    which = np.where(values[0] == 0, "only b", np.where(values[1] == 0, "only a", "both"))
    return pd.DataFrame({"row": rows, "value_a": values[0], "value_b": values[1], "which": which})


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
    number, n_examples = _numbered(codes, example)
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
    _check_request("pearson", 1, min_support)
    number, n_examples = _numbered(codes, example)
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
        for a, b, _, products in _blocks(codes, min_support, rows=moved):
            r = np.abs(_pearson(codes, a, b, products))
            if np.isfinite(r).any():
                maxima[turn] = max(maxima[turn], float(np.nanmax(r)))
        progress.update(turn + 1, n, "permutations")
    return PermutationMaximum(float(np.sort(maxima)[place - 1]), level, maxima, min_support, n_examples)


def _check_request(by: str, top: int, least: float) -> None:
    if by not in MEASURES:
        raise UserError(f"pairs can be ranked by {', '.join(MEASURES)}, not {by!r}")
    if top < 1 or least <= 0:
        raise UserError("the number of pairs and the least support must be positive")


def _numbered(codes: FeatureActivations, example: np.ndarray | None) -> tuple[np.ndarray, int]:
    """int [n_rows], examples renumbered from 0 in ascending order, and how many there are."""
    if example is None:
        return np.arange(codes.n_rows), codes.n_rows
    if np.shape(example) != (codes.n_rows,):
        raise UserError(f"example has shape {np.shape(example)}; these activations have {codes.n_rows} rows")
    known, number = np.unique(np.asarray(example), return_inverse=True)
    return number, len(known)


def _blocks(
    codes: FeatureActivations, min_support: int, min_expected: float = 0.0, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Every pair a < b of living features with n_both >= min_support, or with `min_support` 0 every pair
    with the expected number at or above `min_expected`; as (a, b, n_both, G) arrays, a block of a's at a
    time.

    `rows` replaces codes.feature_rows (a permutation's).
    """
    from scipy.sparse import csc_matrix

    need = max(min_support, 1)
    if min_expected:
        need = max(1, int(min_expected * codes.n_rows / max(codes.n_active.max(initial=1), 1)))
    kept = np.flatnonzero(codes.n_active >= need)  # no pair of a rarer feature can qualify
    if len(kept) < 2:
        return
    parts = (codes.feature_values, codes.feature_rows if rows is None else rows, codes.feature_indptr)
    values = csc_matrix(parts, shape=(codes.n_rows, codes.d_sae))[:, kept].astype(np.float64)
    switch = values.copy()
    switch.data = np.ones(values.nnz, np.int32)
    counts = codes.n_active[kept]
    # only partners from the block on are multiplied: eight blocks spare nearly half of the work
    step = max(1, min(_BLOCK_ENTRIES // len(kept), max(256, -(-len(kept) // 8))))
    for start in range(0, len(kept), step):
        both = (switch[:, start : start + step].T @ switch[:, start:].tocsr()).tocsr()
        products = (values[:, start : start + step].T @ values[:, start:].tocsr()).toarray()
        if min_support:
            a = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
            b, together = both.indices, both.data
            chosen = (together >= min_support) & (b > a)
            a, b, together = a[chosen], b[chosen], together[chosen]
        else:
            expected = np.outer(counts[start : start + step], counts[start:]) / codes.n_rows
            a, b = np.nonzero(np.triu(expected >= min_expected, 1))
            together = both.toarray()[a, b]
        yield kept[a + start], kept[b + start], together.astype(np.int64), products[a, b]


def _against_all(codes: FeatureActivations, feature: int) -> tuple[np.ndarray, np.ndarray]:
    """[d_sae] each: rows together with one feature, and sums of products."""
    rows, values = codes.feature(feature)
    lengths = np.diff(codes.row_indptr)[rows]
    if lengths.sum() > codes.nnz / 4:  # a feature on very many rows: one pass over everything costs less
        line = np.zeros(codes.n_rows)
        line[rows] = values
        terms = line[codes.feature_rows]
        both = segment_sums((terms != 0).astype(np.int64), codes.feature_indptr)
        return both, segment_sums(terms * codes.feature_values, codes.feature_indptr)
    before = np.cumsum(lengths) - lengths
    entries = np.repeat(codes.row_indptr[rows] - before, lengths) + np.arange(lengths.sum())
    partners = codes.row_features[entries]
    weights = np.repeat(values.astype(np.float64), lengths) * codes.row_values[entries]
    both = np.bincount(partners, minlength=codes.d_sae)
    return both, np.bincount(partners, weights, minlength=codes.d_sae)


def _pearson(codes: FeatureActivations, a: np.ndarray, b: np.ndarray, products: np.ndarray) -> np.ndarray:
    n = max(codes.n_rows, 1)
    spread = codes.squares - codes.sums**2 / n
    # what rounding leaves of a feature that does not vary is no spread
    spread = np.where(spread > 1e-12 * codes.squares, spread, np.nan)
    root = np.sqrt(spread)
    mean_root = codes.sums / np.sqrt(n)
    return np.clip((products - mean_root[a] * mean_root[b]) / (root[a] * root[b]), -1.0, 1.0)


def _measures(
    codes: FeatureActivations, a: np.ndarray, b: np.ndarray, both: np.ndarray, products: np.ndarray
) -> dict[str, np.ndarray]:
    n, n_a, n_b = float(codes.n_rows), codes.n_active[a].astype(float), codes.n_active[b].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):  # a feature active on every row has no phi
        return {
            "pearson": _pearson(codes, a, b, products),
            "phi": (n * both - n_a * n_b) / (np.sqrt(n_a * (n - n_a)) * np.sqrt(n_b * (n - n_b))),
            "jaccard": both / (n_a + n_b - both),
            "lift": n * both / (n_a * n_b),
            "cosine": products / np.sqrt(codes.squares[a] * codes.squares[b]),
        }


class _Best:
    """The pairs of largest score so far; equal scores by (a, b), so that the list does not hang on the
    blocks.
    """

    def __init__(self, top: int) -> None:
        self.top = top
        self.columns: list[np.ndarray] = [np.empty(0, np.int64) for _ in range(3)] + [
            np.empty(0),
            np.empty(0),
        ]

    def add(self, a: np.ndarray, b: np.ndarray, both: np.ndarray, products: np.ndarray, score: np.ndarray) -> None:
        good = np.isfinite(score)
        if len(self.columns[4]) >= self.top:
            good &= score >= self.columns[4][-1]
        merged = [
            np.concatenate([old, new[good]])
            for old, new in zip(self.columns, (a, b, both, products, score), strict=True)
        ]
        if len(merged[4]) > self.top:  # a cheap cut first, ties at the edge kept, then the exact order
            edge = np.partition(merged[4], -self.top)[-self.top]
            merged = [column[merged[4] >= edge] for column in merged]
        order = np.lexsort((merged[1], merged[0], -merged[4]))[: self.top]
        self.columns = [column[order] for column in merged]


def _table(
    codes: FeatureActivations,
    best: _Best,
    by: str,
    tail: str,
    example: np.ndarray | None,
    W_dec: np.ndarray | None,
) -> pd.DataFrame:
    from scipy.stats import hypergeom

    a, b, both, products, _ = best.columns
    n, n_a, n_b = codes.n_rows, codes.n_active[a], codes.n_active[b]
    p = hypergeom.sf(both - 1, n, n_a, n_b) if tail == "upper" else hypergeom.cdf(both, n, n_a, n_b)
    p = np.clip(p, 0.0, 1.0)
    alive = int((codes.n_active > 0).sum())
    table = pd.DataFrame(
        {
            "a": a.astype(np.int32),
            "b": b.astype(np.int32),
            "n_a": n_a,
            "n_b": n_b,
            "n_both": both,
            "expected": n_a * n_b / max(n, 1),
            **_measures(codes, a, b, both, products),
            "decoder_cosine": np.nan if W_dec is None else _decoder_cosines(np.asarray(W_dec), a, b),
            "p_value": p,
            "q_value": benjamini_hochberg(p, alive * (alive - 1) // 2),
        }
    )
    if example is not None:
        number, n_examples = _numbered(codes, example)
        table["n_examples_both"] = both
        if n_examples < n:  # else every row is its own example
            rows = [np.intersect1d(codes.feature(i)[0], codes.feature(j)[0], True) for i, j in zip(a, b, strict=True)]
            table["n_examples_both"] = [len(np.unique(number[together])) for together in rows]
    return table


def _decoder_cosines(W_dec: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(W_dec, axis=1).astype(float)
    result = np.empty(len(a))
    for start in range(0, len(a), 4096):
        span = slice(start, start + 4096)
        dots = np.einsum("ij,ij->i", W_dec[a[span]].astype(np.float64), W_dec[b[span]].astype(np.float64))
        with np.errstate(invalid="ignore"):
            result[span] = dots / (norms[a[span]] * norms[b[span]])
    return result


def _from_moments(moments: np.ndarray) -> np.ndarray:
    """r from lines of (rows, sum x, sum y, sum x^2, sum y^2, sum xy)."""
    n, x, y, xx, yy, xy = moments.T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        varies = (spread_x > 1e-12 * xx) & (spread_y > 1e-12 * yy)
        return np.where(varies, np.clip((xy - x * y / n) / np.sqrt(spread_x * spread_y), -1, 1), np.nan)
