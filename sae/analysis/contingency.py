"""Two yes-or-no properties of n examples, many pairs at once: how well one predicts the other, and how far from chance.

Of `n` examples `n_active` have the first property, `n_with` the second, `n_both` both. All arguments are arrays of
one shape, or broadcast to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Beyond this share of the sum so far a term of the tail changes nothing in float64.
_NEGLIGIBLE = 1e-17


def upper_tail(n_both: ArrayLike, n: ArrayLike, n_active: ArrayLike, n_with: ArrayLike) -> np.ndarray:
    """float64: P(together >= n_both) if the two had nothing to do with each other (hypergeometric, one-sided Fisher).

    The same as `scipy.stats.hypergeom.sf(n_both - 1, n, n_active, n_with)` to eight digits, much faster:
    the first term from a table of log factorials, the others by their ratio to the one before. What is below 1e-308
    is 0.
    """
    both, total, active, having = np.broadcast_arrays(
        *(np.asarray(given, np.int64) for given in (n_both, n, n_active, n_with))
    )
    shape = both.shape
    both, total, active, having = (part.reshape(-1) for part in (both, total, active, having))
    p = np.ones(len(both))
    p[both > np.minimum(active, having)] = 0.0
    above = both * np.maximum(total, 1) > active * having
    rising = np.flatnonzero(above & (p > 0))
    if len(rising):
        p[rising] = _falling_tail(both[rising], total[rising], active[rising], having[rising])
    # Up to the mean the terms grow before they fall; such pairs are few, and scipy takes its time.
    below = np.flatnonzero(~above & (p > 0) & (both > 0))
    if len(below):
        from scipy.stats import hypergeom

        p[below] = hypergeom.sf(both[below] - 1, total[below], active[below], having[below])
    return np.clip(p, 0.0, 1.0).reshape(shape)


def _falling_tail(both: np.ndarray, total: np.ndarray, active: np.ndarray, having: np.ndarray) -> np.ndarray:
    """The tail above the mean, where every term is smaller than the one before."""
    first = log_chance(both, total, active, having)
    whole = np.ones(len(both))
    left = np.arange(len(both))
    term, at = np.ones(len(both)), both.astype(np.float64)
    a, c, rest = (part.astype(np.float64) for part in (active, having, total - active - having))
    while len(left):
        term = term * ((a - at) * (c - at)) / ((at + 1) * (rest + at + 1))
        whole[left] += term
        at = at + 1
        on = term > _NEGLIGIBLE * whole[left]
        if not on.all():
            left = left[on]
            term, at, a, c, rest = (part[on] for part in (term, at, a, c, rest))
    return np.exp(first + np.log(whole))


def log_chance(n_both: np.ndarray, n: np.ndarray, n_active: np.ndarray, n_with: np.ndarray) -> np.ndarray:
    """float64: log P(together = n_both) by chance. int64 arrays of one shape, n_both possible."""
    from scipy.special import gammaln

    table = gammaln(np.arange(int(np.max(n, initial=0)) + 2, dtype=np.float64) + 1)
    return (
        table[n_active] - table[n_both] - table[n_active - n_both]
        + table[n - n_active] - table[n_with - n_both] - table[n - n_active - n_with + n_both]
        - table[n] + table[n_with] + table[n - n_with]
    )  # fmt: skip


def measures(n_both: ArrayLike, n: ArrayLike, n_active: ArrayLike, n_with: ArrayLike) -> dict[str, np.ndarray]:
    """How the first property (active) goes with the second (the label c); NaN where a share has no denominator.

    Returns:
        base_rate P(c), precision P(c | active), recall P(active | c), f1 (their harmonic mean; 0 where both are 0),
        lift (precision / base rate), gain ((precision - base rate) / (1 - base rate): how much of the way from the
        base rate to certainty), mutual_information (bits), phi (correlation of the two),
        specificity ((H(c) - H(c | active)) / H(c), where H(c | active) is the entropy of the label among the active
        examples alone: 1 if all of them are alike, below 0 if they are more mixed than all examples).
    """
    both, total, active, having = (np.asarray(part, np.float64) for part in (n_both, n, n_active, n_with))
    with np.errstate(invalid="ignore", divide="ignore"):
        base, precision = having / total, both / active
        whole = entropy(np.stack([having, total - having]))
        among = entropy(np.stack([both, active - both]))
        others = entropy(np.stack([having - both, total - active - having + both]))
        mixed = (
            np.where(active > 0, active * among, 0) + np.where(active < total, (total - active) * others, 0)
        ) / total
        return {
            "base_rate": base,
            "precision": precision,
            "recall": both / having,
            "f1": 2 * both / (active + having),
            "lift": precision / base,
            "gain": (precision - base) / (1 - base),
            "mutual_information": np.maximum(whole - mixed, 0.0),
            "phi": (total * both - active * having)
            / (np.sqrt(active * (total - active)) * np.sqrt(having * (total - having))),
            "specificity": (whole - among) / whole,
        }


def entropy(counts: np.ndarray) -> np.ndarray:
    """float64, in bits, of counts along the first axis; NaN where they sum to 0."""
    counts = np.asarray(counts, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / counts.sum(axis=0)
        terms = np.where(
            shares > 0, shares * np.log2(np.where(shares > 0, shares, 1)), np.where(shares == 0, 0.0, shares)
        )
    return -terms.sum(axis=0) + 0.0
