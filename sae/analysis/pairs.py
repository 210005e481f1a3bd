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
`sae.analysis.pair_chance` works by example.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.analysis.codes import FeatureActivations, segment_sums
from sae.analysis.pair_products import check_request, numbered, pair_blocks, pearson_of
from sae.common.errors import UserError
from sae.common.false_discovery import benjamini_hochberg

PAIR_ENTRIES = 2**23  # activations that a run's pairs are counted on: with more of them, those of evenly spread rows


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
    check_request(by, top, min_support)
    best = _Best(top)
    for a, b, both, products in pair_blocks(codes, min_support):
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
    check_request(by, top, min_expected)
    best = _Best(top)
    for a, b, both, products in pair_blocks(codes, 0, min_expected):
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
    block = pearson_of(codes, a, b, products.reshape(-1)).reshape(products.shape)
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


def _measures(
    codes: FeatureActivations, a: np.ndarray, b: np.ndarray, both: np.ndarray, products: np.ndarray
) -> dict[str, np.ndarray]:
    n, n_a, n_b = float(codes.n_rows), codes.n_active[a].astype(float), codes.n_active[b].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):  # a feature active on every row has no phi
        return {
            "pearson": pearson_of(codes, a, b, products),
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
        number, n_examples = numbered(codes, example)
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
