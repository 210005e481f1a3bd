"""The topk-grid report's formula for feature death, held against what was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.common.errors import UserError


@dataclass(frozen=True)
class DeathFormula:
    """The comparison cell by cell, the one threshold that fits best, and how well it does.

    `table` has, beside k, d_sae and dead: `threshold` (the one that would make the formula exact in this
    cell: K n over the living features, so the mean number of uses of a living feature; NaN where none or all
    are dead), `predicted` (by the best single threshold), `error` (predicted - dead), `uniform` (death if
    every selection fell on a feature at random, exp(-K n / d)). `root_mean_square_error` is in shares; NaN
    without a measured cell.
    """

    table: pd.DataFrame
    n_rows: int
    threshold: float
    root_mean_square_error: float


def death_formula(table: pd.DataFrame, n_rows: int) -> DeathFormula:
    """Compare `dead` with max(0, 1 - K n / (d_sae threshold)).

    Args:
        table: columns k, d_sae and dead (share 0 to 1), one line a cell; missing values stay missing.
        n_rows: the rows over which death was counted.

    Raises:
        UserError: for a missing column, a share outside 0 to 1, or no rows.
    """
    for name in ("k", "d_sae", "dead"):
        if name not in table.columns:
            raise UserError(f"the death formula needs the column {name!r}")
    if n_rows < 1:
        raise UserError(f"the death formula needs at least one row, not {n_rows}")
    result = table[["k", "d_sae", "dead"]].reset_index(drop=True).astype(float)
    uses = result["k"] * n_rows / result["d_sae"]  # selections to be had per feature
    dead = result["dead"]
    if ((dead < 0) | (dead > 1)).any():
        raise UserError("the share of dead features must lie between 0 and 1 (percentages are given as 0.855)")
    inside = (dead > 0) & (dead < 1)
    result["threshold"] = (uses / (1 - dead)).where(inside)
    measured = dead.notna() & uses.notna()
    best, rmse = _best_threshold(uses[measured].to_numpy(), dead[measured].to_numpy())
    result["predicted"] = np.maximum(0.0, 1 - uses / best) if np.isfinite(best) else np.nan
    result["error"] = result["predicted"] - dead
    result["uniform"] = np.exp(-uses)
    return DeathFormula(result, n_rows, best, rmse)


def _best_threshold(uses: np.ndarray, dead: np.ndarray) -> tuple[float, float]:
    """Least squares over the cells. Between two neighbouring `uses` the set of clipped cells is fixed, and
    the squared error is a parabola in 1 / threshold: its vertex, or an end of the interval, is the best
    there."""
    if not len(uses):
        return float("nan"), float("nan")

    def error(inverse: float) -> float:
        return float(np.sqrt(np.mean((np.maximum(0.0, 1 - uses * inverse) - dead) ** 2)))

    bends = np.sort(1 / uses)
    candidates = list(bends)
    for low, high in zip(np.concatenate([[0.0], bends]), bends, strict=False):
        active = uses * (low + high) / 2 < 1
        if active.any():
            vertex = (uses[active] @ (1 - dead[active])) / (uses[active] @ uses[active])
            candidates.append(float(np.clip(vertex, low, high)))
    inverse = min((c for c in candidates if c > 0), key=error)
    return 1 / inverse, error(inverse)
