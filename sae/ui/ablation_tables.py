"""The tables of the Ablations page: numbers for files, and the same written out for people and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.figures.grid import label
from sae.figures.style import metric_kind, metric_title, number_text
from sae.ui.ablation_data import level_name

_FACTORS = {"k": "K", "d_sae": "N"}


def wide(cells: pd.DataFrame, factors: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """A line a cell of `sae.analysis.ablations.cells`: factors, seeds, and of each metric mean, low and high."""
    by = [name for name in factors if name != "seed"]
    lines = []
    for cell, part in cells.groupby(by, sort=False, dropna=False):
        found = part.set_index("metric")
        line = {**dict(zip(by, cell, strict=True)), "seeds": int(found["n"].max())}
        for name in metrics:
            for column, ending in (("mean", ""), ("low", "_low"), ("high", "_high")):
                line[f"{name}{ending}"] = found.at[name, column] if name in found.index else np.nan
        lines.append(line)
    return pd.DataFrame(lines)


def written(table: pd.DataFrame, factors: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """`wide` for people: titles, and `0.123 ± 0.004`."""
    shown = {_FACTORS.get(name, name.replace("_", " ")): table[name].map(_value) for name in factors if name != "seed"}
    shown["seeds"] = table["seeds"].astype(str)
    for name in metrics:
        kind = metric_kind(name)
        shown[metric_title(name)] = pd.Series(
            [
                number_text(mean, kind) + (f" ± {number_text((high - low) / 2, kind)}" if np.isfinite(low) else "")
                if np.isfinite(mean)
                else "–"
                for mean, low, high in table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
            ],
            index=table.index,
        )
    return pd.DataFrame(shown)


def _value(value: object) -> str:
    return level_name({"": value}) if isinstance(value, str) else label(value)


def written_differences(lines: pd.DataFrame, ablated: Sequence[str], matched: str = "") -> pd.DataFrame:
    """Lines of `differences` or `matched_differences` for people."""
    found = []
    for line in lines.to_dict("records"):
        kind = metric_kind(line["metric"])
        known = line["n"] > 0
        shown = {"Level": level_name({name: line[name] for name in ablated}), "Metric": metric_title(line["metric"])}
        if matched:
            shown["At"] = number_text(line["at"], metric_kind(matched))
        without = "outside" if matched else "–"
        shown |= {
            "Baseline": number_text(line["baseline"], kind) if known else "–",
            "This level": number_text(line["level"], kind) if known else "–",
            "Difference": number_text(line["difference"], kind, signed=True) if known else without,
            "95 % interval": f"{number_text(line['low'], kind, signed=True)} to "
            f"{number_text(line['high'], kind, signed=True)}" if line["n"] > 1 else "–",
            "Seeds": str(line["n"]),
            "q": f"{line['q']:.2g}" if np.isfinite(line["q"]) else "–",
        }  # fmt: skip
        found.append(shown)
    return pd.DataFrame(found)
