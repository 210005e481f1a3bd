"""How much of a metric's variation over a grid each factor accounts for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from sae.common.errors import UserError

MOST_FACTORS = 5


def variance_share(
    table: pd.DataFrame, response: str = "ev_total", factors: Sequence[str] = ("k", "d_sae")
) -> pd.DataFrame:
    """Split the sum of squares of `response` over the lines of a grid by categorical factors.

    Each factor gets what it adds to an additive model, averaged over every order in which the factors can
    enter (on a complete grid the order does not matter and this is the usual analysis of variance; with
    missing cells it is Lindeman, Merenda and Gold's measure). `interaction` is what the cell means add to
    the additive model, `seeds` what lines of one cell (seeds) differ by. With one line a cell the two can't
    be told apart and `interaction` holds both.

    Returns:
        One line a component, in the order of `factors`, then interaction, then seeds (where a cell has two
        lines): component, sum_of_squares, share (of the total; NaN if nothing varies), degrees_of_freedom.
        Lines with a missing response are left out.

    Raises:
        UserError: for unknown columns, no factor or more than 5, or fewer than 2 measured lines.
    """
    factors = list(factors)
    for name in [response, *factors]:
        if name not in table.columns:
            raise UserError(f"there is no column {name!r}; there are {list(map(str, table.columns))}")
    if not 1 <= len(set(factors)) == len(factors) <= MOST_FACTORS:
        raise UserError(f"name 1 to {MOST_FACTORS} different factors, not {factors}")
    table = table.dropna(subset=[response, *factors])
    if len(table) < 2:
        raise UserError(f"a share of variance needs 2 measured lines or more; {response} has {len(table)}")
    y = table[response].to_numpy(float)
    y = y - y.mean()
    total = float(y @ y)
    indicators = {name: pd.get_dummies(table[name].astype("category")).to_numpy(float) for name in factors}

    fits: dict[frozenset[str], tuple[float, int]] = {frozenset(): (0.0, 1)}

    def fit(names: frozenset[str]) -> tuple[float, int]:
        """The sum of squares that an additive model of these factors explains, and its rank with the mean."""
        if names not in fits:
            design = np.column_stack([np.ones(len(y)), *(indicators[name] for name in factors if name in names)])
            weights, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
            fits[names] = (float(np.square(design @ weights).sum()), int(rank))
        return fits[names]

    orders = list(permutations(factors))
    parts: dict[str, tuple[float, float]] = {}
    for name in factors:
        gains = []
        for order in orders:
            before = frozenset(order[: order.index(name)])
            (with_it, rank), (without, rank_without) = fit(before | {name}), fit(before)
            gains.append((with_it - without, rank - rank_without))
        parts[name] = (float(np.mean([g[0] for g in gains])), float(np.mean([g[1] for g in gains])))

    additive, rank = fit(frozenset(factors))
    cells = table.groupby(factors, observed=True, sort=False).ngroup().to_numpy()
    means = np.bincount(cells, y) / np.bincount(cells)
    between, n_cells = float(np.square(means[cells]).sum()), int(cells.max()) + 1
    parts["interaction"] = (between - additive, n_cells - rank)
    if n_cells < len(y):
        parts["seeds"] = (total - between, len(y) - n_cells)
    return pd.DataFrame(
        [
            # rounding may leave a sum of squares a hair below zero
            (name, max(squares, 0.0), max(squares, 0.0) / total if total > 0 else np.nan, freedom)
            for name, (squares, freedom) in parts.items()
        ],
        columns=["component", "sum_of_squares", "share", "degrees_of_freedom"],
    )


def variance_share_range(
    table: pd.DataFrame,
    response: str = "ev_total",
    factors: Sequence[str] = ("k", "d_sae"),
    replicate: str = "seed",
) -> pd.DataFrame:
    """Each component's share computed in each seed alone: lowest, mean and highest over the seeds.

    Returns:
        component, low, mean, high, n (seeds). Seeds with fewer than 2 measured lines are left out.

    Raises:
        UserError: as `variance_share`, or if there is no column `replicate`.
    """
    if replicate not in table.columns:
        raise UserError(f"there is no column {replicate!r}")
    measured = table.dropna(subset=[response]) if response in table.columns else table
    parts = [variance_share(lines, response, factors) for _, lines in measured.groupby(replicate) if len(lines) > 1]
    if not parts:
        raise UserError(f"no {replicate} has 2 measured lines of {response} or more")
    shares = pd.concat(parts).groupby("component", sort=False)["share"]
    return shares.agg(low="min", mean="mean", high="max", n="count").reset_index()
