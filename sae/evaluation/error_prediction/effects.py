"""What each feature alone has to do with wrong answers: effects, and p-values for all features together.

With n problems of which W are wrong, a feature that is active on s of them, c of these wrong:
difference = c / W - (s - c) / (n - W); log odds ratio = log of (c + ½)(n - W - s + c + ½) / ((W - c + ½)(s - c + ½))
(Haldane and Anscombe's ½); Cohen's d = difference of the means of the value over their pooled standard deviation; AUROC
of the value = the share of (wrong, right) pairs in which the wrong one's value is larger, ties counting half. Values
keep their sign and are 0 where the feature is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sae.common.false_discovery import benjamini_hochberg
from sae.evaluation.error_prediction.folds import permuted_by_group

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csc_matrix

LEAST_ACTIVE = 20
LEVEL = 0.95
_AT_ONCE = 100


class Effects(NamedTuple):
    """A line a feature, and what the largest effect of any tested feature stays within by chance (95 %).

    Attributes:
        table: see `feature_effects`.
        difference_band: of |difference|; auroc_band: of |AUROC - ½|. NaN where no feature is tested.
        n_tested: features active on at least 20 problems.
    """

    table: pd.DataFrame
    difference_band: float
    auroc_band: float
    n_tested: int


def feature_effects(
    features: csc_matrix,
    wrong: np.ndarray,
    group: np.ndarray,
    *,
    permutations: int = 1000,
    least: int = LEAST_ACTIVE,
    seed: int = 0,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Effects:
    """Effects of every feature, tested where it is active on `least` problems or more.

    Args:
        features: [n, d]. wrong: bool [n]. group: int [n]; permutations exchange the labels of whole groups.

    Returns:
        In the table: feature, n_active, n_active_wrong, share_wrong and share_right (active share of each), difference,
        mean_wrong and mean_right (of the value), log_odds_ratio, cohens_d, auroc, and where tested (else NaN):
        p_hypergeometric (two-sided, twice the smaller tail), p_mann_whitney (normal approximation with ties), each with
        its q (Benjamini and Hochberg over the tested features), p_permutation (of |difference|) and p_permutation_auroc
        (of |AUROC - ½|), both (1 + hits) / (1 + permutations), and the same of the largest over all tested features:
        p_largest, p_largest_auroc, which control the chance of any false one.
    """
    import pandas as pd

    n, d = features.shape
    n_wrong = int(wrong.sum())
    n_right = n - n_wrong
    values = features.astype(np.float64)
    values.eliminate_zeros()
    active = values.copy()
    active.data = np.ones_like(active.data)
    n_active = np.diff(values.indptr).astype(np.int64)
    n_both = np.asarray(active.T @ wrong.astype(np.float64)).round().astype(np.int64)
    difference = n_both / n_wrong - (n_active - n_both) / n_right
    ranks = _Ranks(values, wrong)
    area = ranks.auroc(wrong[:, None])[:, 0]
    tested = n_active >= least
    lonely = {name: np.full(d, np.nan) for name in _P_VALUES}
    bands = np.full(2, np.nan)
    if tested.any():
        lonely["p_hypergeometric"][tested] = hypergeometric_p(n, n_wrong, n_active[tested], n_both[tested])
        lonely["p_mann_whitney"][tested] = ranks.p(area)[tested]
        for name in ("hypergeometric", "mann_whitney"):
            lonely[f"q_{name}"][tested] = benjamini_hochberg(lonely[f"p_{name}"][tested])
        permuted = _permuted(active, ranks, tested, wrong, group, difference, area, permutations, seed, watch)
        lonely |= permuted[0]
        bands = permuted[1]
    mean_wrong = np.asarray(values.T @ wrong.astype(np.float64)) / n_wrong
    mean_right = np.asarray(values.T @ (~wrong).astype(np.float64)) / n_right
    table = pd.DataFrame(
        {
            "feature": np.arange(d),
            "n_active": n_active,
            "n_active_wrong": n_both,
            "share_wrong": n_both / n_wrong,
            "share_right": (n_active - n_both) / n_right,
            "difference": difference,
            "mean_wrong": mean_wrong,
            "mean_right": mean_right,
            "log_odds_ratio": np.log((n_both + 0.5) * (n_right - n_active + n_both + 0.5))
            - np.log((n_wrong - n_both + 0.5) * (n_active - n_both + 0.5)),
            "cohens_d": _cohens_d(values, wrong, mean_wrong, mean_right),
            "auroc": area,
        }
        | lonely
    )
    return Effects(table, float(bands[0]), float(bands[1]), int(tested.sum()))


_P_VALUES = (
    "p_hypergeometric", "q_hypergeometric", "p_mann_whitney", "q_mann_whitney", "p_permutation", "p_largest",
    "p_permutation_auroc", "p_largest_auroc",
)  # fmt: skip


def hypergeometric_p(n: int, n_wrong: int, n_active: np.ndarray, n_both: np.ndarray) -> np.ndarray:
    """Two-sided p [d] of `n_both` wrong among `n_active` of n problems: twice the smaller tail, at most 1."""
    from scipy.stats import hypergeom

    low = hypergeom.cdf(n_both, n, n_wrong, n_active)
    high = hypergeom.sf(n_both - 1, n, n_wrong, n_active)
    return np.minimum(1, 2 * np.minimum(low, high))


class _Ranks:
    """Ranks of every feature's values with ties shared, as differences from the rank of silence: sparse like it."""

    def __init__(self, values: csc_matrix, wrong: np.ndarray) -> None:
        from scipy.stats import rankdata

        n, d = values.shape
        self.n, self.n_wrong = n, int(wrong.sum())
        self.lifted = values.copy()
        self.silent = np.empty(d)
        self.ties = np.zeros(d)
        for j in range(d):
            span = slice(values.indptr[j], values.indptr[j + 1])
            data = values.data[span]
            zeros = n - len(data)
            below = int((data < 0).sum())
            # silence stands between the negative and the positive values
            self.silent[j] = below + (zeros + 1) / 2
            within = rankdata(data) if len(data) else data
            self.lifted.data[span] = within + np.where(data > 0, zeros, 0) - self.silent[j]
            _, counts = np.unique(data, return_counts=True)
            self.ties[j] = float((counts.astype(np.float64) ** 3 - counts).sum() + float(zeros) ** 3 - zeros)

    def auroc(self, labels: np.ndarray) -> np.ndarray:
        """[d, m] for labels bool [n, m], each with as many wrong ones."""
        total = np.asarray(self.lifted.T @ labels.astype(np.float64)) + self.silent[:, None] * self.n_wrong
        return (total - self.n_wrong * (self.n_wrong + 1) / 2) / (self.n_wrong * (self.n - self.n_wrong))

    def p(self, auroc: np.ndarray) -> np.ndarray:
        """Two-sided p of Mann and Whitney's U: normal with ties and continuity correction, as scipy's asymptotic."""
        from scipy.stats import norm

        n, pairs = self.n, self.n_wrong * (self.n - self.n_wrong)
        spread = np.sqrt(pairs / 12 * ((n + 1) - self.ties / (n * (n - 1))))
        off = np.abs(auroc - 0.5) * pairs - 0.5
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.where(spread > 0, np.maximum(off, 0) / spread, 0)
        return np.minimum(1, 2 * norm.sf(z))


def _permuted(
    active: csc_matrix,
    ranks: _Ranks,
    tested: np.ndarray,
    wrong: np.ndarray,
    group: np.ndarray,
    difference: np.ndarray,
    area: np.ndarray,
    permutations: int,
    seed: int,
    watch: Callable[[int, int], None],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    generator = np.random.default_rng(seed)
    n, n_wrong, d = len(wrong), int(wrong.sum()), len(tested)
    n_right = n - n_wrong
    observed = np.abs(difference), np.abs(area - 0.5)
    hits, largest_hits = np.zeros((2, d)), np.zeros((2, d))
    largest: list[np.ndarray] = []
    for start in range(0, permutations, _AT_ONCE):
        many = min(_AT_ONCE, permutations - start)
        labels = np.stack([permuted_by_group(wrong, group, generator) for _ in range(many)], axis=1)
        both = np.asarray(active.T @ labels.astype(np.float64))
        support = np.diff(active.indptr)[:, None]
        by_chance = np.abs(both / n_wrong - (support - both) / n_right), np.abs(ranks.auroc(labels) - 0.5)
        peaks = np.stack([found[tested].max(0) for found in by_chance])
        for place in range(2):
            # a permutation that gives back the same counts is a hit, whatever rounding says
            hits[place] += (by_chance[place] >= observed[place][:, None] - 1e-12).sum(1)
            largest_hits[place] += (peaks[place][None, :] >= observed[place][:, None] - 1e-12).sum(1)
        largest.append(peaks)
        watch(start + many, permutations)
    peaks = np.concatenate(largest, axis=1)
    p = np.where(tested, (1 + hits) / (1 + permutations), np.nan)
    p_largest = np.where(tested, (1 + largest_hits) / (1 + permutations), np.nan)
    found = {
        "p_permutation": p[0],
        "p_largest": p_largest[0],
        "p_permutation_auroc": p[1],
        "p_largest_auroc": p_largest[1],
    }
    # the largest effect that is no discovery: beyond it `p_largest` is at most 1 - LEVEL
    allowed = max(int(round(1e9 * (1 - LEVEL) * (1 + permutations)) // 10**9) - 1, 0)
    return found, -np.sort(-peaks, axis=1)[:, min(allowed, permutations - 1)]


def _cohens_d(values: csc_matrix, wrong: np.ndarray, mean_wrong: np.ndarray, mean_right: np.ndarray) -> np.ndarray:
    squares = values.copy()
    squares.data = squares.data**2
    n_wrong, n_right = int(wrong.sum()), int((~wrong).sum())
    spread = (
        np.asarray(squares.T @ wrong.astype(np.float64))
        - n_wrong * mean_wrong**2
        + np.asarray(squares.T @ (~wrong).astype(np.float64))
        - n_right * mean_right**2
    )
    deviation = np.sqrt(np.maximum(spread, 0) / (n_wrong + n_right - 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(deviation > 0, (mean_wrong - mean_right) / deviation, 0.0)
