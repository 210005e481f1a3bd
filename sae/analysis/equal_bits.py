"""Measurements at equal bits as curves: one a method, seeds averaged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

MEASURES = ("reconstruction_loss", "ev_total", "recall", "recall_hamming", "recall_decoded")
PQ = "Product quantisation"
#: By architecture and way of keeping; another architecture is called by its own name.
_TITLES = {
    ("binary", "bits"): "Binary code",
    ("binary", "float32"): "TopK strengths, float32",
    ("binary", "int8"): "TopK strengths, 8 bits",
    ("topk", "float32"): "TopK SAE, float32 values",
    ("topk", "int8"): "TopK SAE, 8-bit values",
}
_ROUNDINGS = {"topk": "hard TopK"}
_ON_AXES = ("d_sae", "k", "seed", "layer", "position")


def curves(lines: pd.DataFrame, factors: Iterable[str]) -> pd.DataFrame:
    """A line a method and cell, the mean over its seeds.

    Args:
        lines: a line a run and way of keeping: `experiment`, `architecture`, `method` (`bits`, `float32`, `int8`,
            `pq`), `bits`, the measures with `_low` and `_high`, and the factors of its run.
        factors: names of the factors' columns. Those that vary within an experiment, beside N, K and the seed, make
            methods of their own.

    Returns:
        `method` (in words), `cell` (experiment, N and K; empty for product quantisation), `bits`, and each measure with
        `_low` and `_high`: Student's t over seeds at 95 %, of one seed the interval that it has; `seeds`. By method,
        then bits.
    """
    found: list[dict[str, object]] = []
    quantised = lines[lines["method"] == "pq"].drop_duplicates("bits")  # the same rows, quantised to the same bits
    for line in quantised.to_dict("records"):
        found.append({"method": PQ, "cell": "", "bits": line["bits"], "seeds": 1, **_one(line)})
    for experiment, part in lines[lines["method"] != "pq"].groupby("experiment", sort=False):
        own = [name for name in factors if name in part and part[name].notna().any()]
        varied = [name for name in own if name not in _ON_AXES and part[name].nunique(dropna=False) > 1]
        by = ["architecture", "method", *(name for name in own if name != "seed")]
        for key, cell in part.groupby(by, sort=False, dropna=False):
            at = dict(zip(by, key, strict=True))
            first = cell.iloc[0].to_dict()
            values = {"bits": float(cell["bits"].mean())} | (_one(first) if len(cell) == 1 else _mean(cell))
            size = ", ".join(f"{word} {at[name]:,}" for name, word in (("d_sae", "N"), ("k", "K")) if name in at)
            found.append(
                {
                    "method": _title(at, varied),
                    "cell": f"{experiment}: {size}" if size else str(experiment),
                    "seeds": len(cell),
                    **values,
                }
            )
    columns = ["method", "cell", "bits", *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high"))]
    table = pd.DataFrame(found, columns=[*columns, "seeds"])
    return table.sort_values(["method", "bits"], kind="stable", ignore_index=True)


def _title(at: dict[str, object], varied: list[str]) -> str:
    kind, method = str(at["architecture"]), str(at["method"])
    said = _TITLES.get((kind, method), f"{kind}, {method}")
    # the way of rounding is in the name of values already
    more = [_ROUNDINGS.get(str(at[name]), str(at[name]).replace("_", " ")) if name == "rounding"
            else f"{name.replace('_', ' ')} {at[name]}"
            for name in varied if not (name == "rounding" and method != "bits")]  # fmt: skip
    return ", ".join([said, *more])


def _one(line: dict[str, object]) -> dict[str, object]:
    return {f"{name}{end}": line.get(f"{name}{end}", np.nan) for name in MEASURES for end in ("", "_low", "_high")}


def _mean(cell: pd.DataFrame) -> dict[str, object]:
    from sae.analysis.claims.measured import t_interval

    found: dict[str, object] = {}
    for name in MEASURES:
        values = cell[name].dropna().to_numpy(float) if name in cell else np.empty(0)
        low, high = t_interval(values) if len(values) > 1 else (np.nan, np.nan)
        found |= {name: values.mean() if len(values) else np.nan, f"{name}_low": low, f"{name}_high": high}
    return found
