"""What several seeds of one cell have in common, point by point: their mean, the least and the most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def over_training(histories: Sequence[pd.DataFrame], column: str, x: str = "step") -> pd.DataFrame:
    """Learning curves of one cell's seeds.

    Returns:
        A line a step that any seed has: x, mean, least, most, n (seeds); empty where none has the column.
    """
    parts = [one[[x, column]].dropna() for one in histories if {x, column} <= set(one.columns)]
    if not parts:
        return pd.DataFrame(columns=[x, "mean", "least", "most", "n"])
    return _band(pd.concat(parts), x, column)


def by_rank(densities: Sequence[np.ndarray]) -> pd.DataFrame:
    """Densities of the features [d_sae] of each seed, each sorted on its own, the most frequent feature first.

    Returns:
        A line a rank: rank (from 1), mean, least, most, n (seeds).
    """
    parts = [
        pd.DataFrame({"rank": np.arange(1, len(one) + 1), "density": np.sort(np.asarray(one, float))[::-1]})
        for one in densities
    ]
    if not parts:
        return pd.DataFrame(columns=["rank", "mean", "least", "most", "n"])
    return _band(pd.concat(parts), "rank", "density")


def count_shares(counts: Sequence[np.ndarray], edges: np.ndarray) -> pd.DataFrame:
    """How many features are on in a row, over the rows of each seed: counts [n_rows] -> shares of rows by bin.

    Args:
        edges: ascending; the last bin holds its right edge.

    Returns:
        A line a bin: low, high (the largest count in it), mean, least, most, n (seeds).
    """
    parts = []
    for one in counts:
        rows, _ = np.histogram(one, edges)
        parts.append(pd.DataFrame({"low": edges[:-1], "share": rows / max(len(one), 1)}))
    found = _band(pd.concat(parts), "low", "share")
    found.insert(1, "high", [*(edges[1:-1] - 1), edges[-1]])
    return found


def _band(table: pd.DataFrame, x: str, column: str) -> pd.DataFrame:
    grouped = table.groupby(x)[column]
    found = grouped.agg(mean="mean", least="min", most="max", n="count")
    return found.reset_index()
