"""The difference of two experiments' grids, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.common.errors import UserError


def difference(left: pd.DataFrame, right: pd.DataFrame, value: str, on: Sequence[str] = ("k", "d_sae")) -> pd.DataFrame:
    """`right` minus `left`, the lines of a cell (its seeds) averaged in each.

    Returns:
        One line a cell of either table, sorted by `on`: the factors, left, right, difference, left_sd,
            right_sd
        (sample standard deviation over seeds; NaN with one), left_n, right_n (measured lines), and
        standard_error of the difference, sqrt(sd_left^2 / n_left + sd_right^2 / n_right), NaN unless both
        have two seeds. A cell that only one side has measured keeps a NaN difference.

    Raises:
        UserError: if a column is missing from either table, or `on` is empty.
    """
    on = list(on)
    if not on:
        raise UserError("name at least one factor that both experiments share")
    for side, table in (("first", left), ("second", right)):
        for name in [value, *on]:
            if name not in table.columns:
                raise UserError(f"the {side} experiment has no column {name!r}; it has {list(map(str, table))}")
    sides = [
        table.groupby(on, dropna=False)[value]
        .agg(**{name: "mean", f"{name}_sd": "std", f"{name}_n": "count"})
        .reset_index()
        for name, table in (("left", left), ("right", right))
    ]
    cells = sides[0].merge(sides[1], on=on, how="outer").sort_values(on, ignore_index=True)
    for name in ("left_n", "right_n"):
        cells[name] = cells[name].fillna(0).astype(int)
    cells["difference"] = cells["right"] - cells["left"]
    counts = [cells[name].where(cells[name] > 0) for name in ("left_n", "right_n")]
    cells["standard_error"] = np.sqrt(cells["left_sd"] ** 2 / counts[0] + cells["right_sd"] ** 2 / counts[1])
    order = ["left", "right", "difference", "standard_error", "left_sd", "right_sd", "left_n", "right_n"]
    return cells[[*on, *order]]
