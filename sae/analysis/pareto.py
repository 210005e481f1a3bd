"""Which configurations no other one beats, under objectives that the reader chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sae.common.errors import UserError


def non_dominated(
    table: pd.DataFrame,
    maximize: Sequence[str] = (),
    minimize: Sequence[str] = (),
    strict_all: bool = False,
    tolerance: float | Mapping[str, float] = 0.0,
) -> np.ndarray:
    """bool [len(table)]: the lines that no other line dominates.

    Standard (Pareto) dominance: B dominates A where B is at least as good in every objective and better in
    one. With `strict_all`, B must be better in *every* objective: a weaker test, under which lines that are
    equal in one objective never dominate each other. The topk-grid report used it, which is why it found all
    12 of its configurations optimal.

    A line with a missing objective is not on the frontier and dominates nothing. Lines equal in everything
    don't dominate each other.

    Args:
        maximize, minimize: columns of `table`, numbers or booleans.
        tolerance: differences up to this much count as ties: one number, or one per column (others 0).

    Raises:
        UserError: without an objective, for a column that is missing or not numeric, for one wanted both
            ways, or for a negative tolerance.
    """
    return ~_dominance(table, maximize, minimize, strict_all, tolerance)[1]


def dominators(
    table: pd.DataFrame,
    maximize: Sequence[str] = (),
    minimize: Sequence[str] = (),
    strict_all: bool = False,
    tolerance: float | Mapping[str, float] = 0.0,
) -> list[list[int]]:
    """For each line, the places (0-based, ascending) of the lines that dominate it. As `non_dominated`.

    The list of a line with a missing objective is empty: it was not compared.
    """
    dominates, _ = _dominance(table, maximize, minimize, strict_all, tolerance)
    return [np.flatnonzero(column).tolist() for column in dominates.T]


def _dominance(
    table: pd.DataFrame,
    maximize: Sequence[str],
    minimize: Sequence[str],
    strict_all: bool,
    tolerance: float | Mapping[str, float],
) -> tuple[np.ndarray, np.ndarray]:
    """bool [n, n], whether line i dominates line j; and bool [n], whether line j is off the frontier."""
    better, slack = _oriented(table, list(maximize), list(minimize), tolerance)
    complete = ~np.isnan(better).any(axis=1)
    dominates = np.zeros((len(table), len(table)), bool)
    for i in np.flatnonzero(complete):  # one line against all others: memory stays at n x objectives
        with np.errstate(invalid="ignore"):  # equal infinities: no difference
            lead = np.where(better[i] == better, 0.0, better[i] - better)
        ahead = lead > slack
        row = ahead.all(axis=1) if strict_all else (lead >= -slack).all(axis=1) & ahead.any(axis=1)
        dominates[i] = row & complete
    return dominates, dominates.any(axis=0) | ~complete


def _oriented(
    table: pd.DataFrame, maximize: list[str], minimize: list[str], tolerance: float | Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """float64 [n, objectives], larger is better, and the tolerance of each objective."""
    names = maximize + minimize
    if not names:
        raise UserError("name at least one objective to maximize or minimize")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"objective {sorted(twice)[0]!r} is named twice")
    for name in names:
        if name not in table.columns:
            raise UserError(f"there is no column {name!r} to compare by; there are {list(map(str, table))}")
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise UserError(f"column {name!r} is not numeric and can't be an objective")
    given = {name: float(tolerance.get(name, 0.0)) for name in names} if isinstance(tolerance, Mapping) else {}
    slack = np.array([given.get(name, 0.0) if given else float(tolerance) for name in names])  # type: ignore[arg-type]
    if not (slack >= 0).all():
        raise UserError("a tolerance must be 0 or more")
    columns = [table[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names]
    signs = np.array([1.0] * len(maximize) + [-1.0] * len(minimize))
    return np.column_stack(columns) * signs, slack
