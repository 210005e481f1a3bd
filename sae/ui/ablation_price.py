"""For each level of an ablation: which metrics moved beyond the seeds' interval, and what was paid for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.analysis.ablations import differences
from sae.figures.style import metric_kind, number_text
from sae.ui import ablation_words
from sae.ui.ablation_data import level_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What is paid: explained variance that is lost, features more on a row, seconds of training and measuring.
PRICES = ("ev_total", "l0", "seconds")
FORMULA = (
    "Moved: the 95 % interval of the paired difference (Student's t over seeds) leaves out 0, or all seeds differ by "
    "exactly the same; q: false discovery over all levels and metrics. The price is the difference in explained "
    "variance, in L0 and in seconds (training and measuring, wall time: other work on the machine is in it), each "
    "level less the baseline with its interval."
)


def prices(
    table: pd.DataFrame, baseline: Mapping[str, Any], factors: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """A line a level.

    Args:
        table: finished runs, a line each, with `seconds`.

    Returns:
        name, moved and clear (metrics in words: all that moved, and those with q < 0.05), of each price that the runs
        have the difference, `_low` and `_high`; seeds.
    """
    lines = differences(table, baseline, factors, [name for name in metrics if name != "seconds"])
    paid = differences(table, baseline, factors, [name for name in PRICES if name in table])
    ablated, found = list(baseline), []
    for level, part in lines.groupby(ablated, sort=False):
        there = (paid[ablated] == pd.Series(level, ablated)).all(axis=1)
        moved = part[(part["n"] > 1) & ((part["low"] > 0) | (part["high"] < 0))]
        line: dict[str, Any] = {
            "name": level_name(dict(zip(ablated, level, strict=True))),
            "moved": _named(moved),
            "clear": _named(moved[ablation_words.beyond(moved)]),
        }
        for price, *values in paid.loc[there, ["metric", "difference", "low", "high"]].itertuples(index=False):
            line |= dict(zip((price, f"{price}_low", f"{price}_high"), values, strict=True))
        found.append({**line, "seeds": int(part["n"].max())})
    return pd.DataFrame(found)


def written(table: pd.DataFrame) -> pd.DataFrame:
    """`prices` for people."""
    titles = {"ev_total": "Explained variance", "l0": "L0", "seconds": "Seconds"}
    shown = {"Level": table["name"]}
    for name in (name for name in PRICES if name in table):
        kind = "decimal" if name == "seconds" else metric_kind(name)
        shown[titles[name]] = pd.Series(
            [
                _with_interval(value, low, high, kind)
                for value, low, high in table[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
            ],
            index=table.index,
        )
    # The price first: lists of metrics are long, and go on beyond what a screen shows.
    shown |= {"Seeds": table["seeds"].astype(str), "Moved beyond the seeds' interval": table["moved"],
              "Of these q < 0.05": table["clear"]}  # fmt: skip
    return pd.DataFrame(shown)


def _named(lines: pd.DataFrame) -> str:
    return ", ".join(
        f"{ablation_words.short(metric)} {ablation_words.size(value, metric_kind(metric))}"
        for metric, value in lines[["metric", "difference"]].itertuples(index=False)
    ) or "–"  # fmt: skip


def _with_interval(value: float, low: float, high: float, kind: str) -> str:
    if not np.isfinite(value):
        return "–"
    said = number_text(value, kind, signed=True)
    if not np.isfinite(low):
        return said
    return f"{said} ({number_text(low, kind, signed=True)} to {number_text(high, kind, signed=True)})"
