"""How what is left unexplained falls with K and dictionary size, and whether the law says anything about larger ones.

    log FVU = a + b_K log K + b_d log d + g log K log d        FVU = 1 - EV_total, on held-out rows

The form is that of Gao et al. 2024 (section 3.1) without its irreducible term, which a grid of a few sizes can't tell
from the rest. It is fitted by least squares on every size but the largest, whose cells then are what it is judged by.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sae.common.errors import UserError

COEFFICIENTS = ("a", "b_K", "b_d", "g")


class Law(NamedTuple):
    """A fitted law.

    Attributes:
        coefficients: a, b_K, b_d, g.
        held_out: the size that it was not fitted on.
        table: a line a cell: d_sae, k, fvu, predicted, low and high (95 % prediction interval), ratio (fvu over
            predicted), held_out; of each seed.
        n: cells that it was fitted on.
        r_squared: of log FVU, on those.
        error: root mean square of log(fvu / predicted) on the held-out size.
        error_of_next: the same of the guess that a larger dictionary does what the next smaller one did at the same K:
            what a law has to beat.
    """

    coefficients: np.ndarray
    held_out: int
    table: pd.DataFrame
    n: int
    r_squared: float
    error: float
    error_of_next: float

    def predict(self, k: np.ndarray, d_sae: np.ndarray) -> np.ndarray:
        """FVU by the law."""
        found: np.ndarray = np.exp(_design(k, d_sae) @ self.coefficients)
        return found


def fit(table: pd.DataFrame) -> Law:
    """Fit the law to `table`: d_sae, k and fvu (above 0), a line a run.

    Raises:
        UserError: with fewer than three sizes, fewer than five runs or two values of K below the largest, or for an FVU
            that has no logarithm.
    """
    d_sae, k, fvu = (table[name].to_numpy(float) for name in ("d_sae", "k", "fvu"))
    if not (np.isfinite(fvu) & (fvu > 0)).all():
        raise UserError("the law is of logarithms: every explained variance must be known and below 1")
    sizes = np.unique(d_sae)
    if len(sizes) < 3:
        raise UserError(
            f"a law over sizes needs at least three of them, one of which is held out; here are {len(sizes)}"
        )
    largest = sizes[-1]
    inside = d_sae < largest
    design = _design(k, d_sae)
    if inside.sum() < 5 or np.linalg.matrix_rank(design[inside]) < 4:
        raise UserError("a law of four numbers needs at least five runs below the largest size, with two values of K")
    log = np.log(fvu)
    found, *_ = np.linalg.lstsq(design[inside], log[inside], rcond=None)
    predicted = design @ found
    rest = log[inside] - predicted[inside]
    freedom = int(inside.sum()) - 4
    variance = float(rest @ rest) / freedom
    inverse = np.linalg.inv(design[inside].T @ design[inside])
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    from scipy.stats import t

    half = t.ppf(0.975, freedom) * np.sqrt(variance * (1 + leverage))
    spread = float(((log[inside] - log[inside].mean()) ** 2).sum())
    lines = pd.DataFrame(
        {
            "d_sae": table["d_sae"].to_numpy(),
            "k": table["k"].to_numpy(),
            "fvu": fvu,
            "predicted": np.exp(predicted),
            "low": np.exp(predicted - half),
            "high": np.exp(predicted + half),
            "ratio": np.exp(log - predicted),
            "held_out": ~inside,
        }
    )
    return Law(
        found,
        int(largest),
        lines.sort_values(["d_sae", "k"], kind="stable").reset_index(drop=True),
        int(inside.sum()),
        1 - float(rest @ rest) / spread if spread else float("nan"),
        _root_mean_square(log[~inside] - predicted[~inside]),
        _root_mean_square(_against_next(log, d_sae, k, largest, sizes[-2])),
    )


def _design(k: np.ndarray, d_sae: np.ndarray) -> np.ndarray:
    log_k, log_d = np.log(np.asarray(k, float)), np.log(np.asarray(d_sae, float))
    return np.stack([np.ones_like(log_k), log_k, log_d, log_k * log_d], axis=1)


def _against_next(log: np.ndarray, d_sae: np.ndarray, k: np.ndarray, largest: float, below: float) -> np.ndarray:
    """What the cells of the largest size are off from the mean of those one size below at the same K."""
    off = []
    for value, at in zip(log[d_sae == largest], k[d_sae == largest], strict=True):
        smaller = log[(d_sae == below) & (k == at)]
        if len(smaller):
            off.append(value - smaller.mean())
    return np.array(off)


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")
