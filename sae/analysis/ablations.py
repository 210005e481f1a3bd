"""Ablations: cells over seeds, and each level of the ablated factors against the baseline, paired by seed.

Tables have a line a finished run: its factors (with `seed`) and its metrics on one split. Seeds are the sample: every
interval is Student's t over them, at 95 %, and with one seed there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.common.errors import UserError
from sae.common.false_discovery import benjamini_hochberg

CONFIDENCE = 0.95
#: By how much of the baseline's a metric that is to be equal may differ.
EQUAL = 0.05
#: Factors that a curve of cost goes along: the others stay as they are on one curve.
ALONG = ("k", "alpha")


def over_seeds(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """mean, sd (sample), low and high of Student's t, n of `values`, those that are not finite left out.

    `sd`, `low` and `high` are NaN below two values.
    """
    from scipy.stats import t

    good = np.asarray(values, float)
    good = good[np.isfinite(good)]
    n = len(good)
    mean = float(good.mean()) if n else np.nan
    if n < 2:
        return {"mean": mean, "sd": np.nan, "low": np.nan, "high": np.nan, "n": n}
    # The sd of equal values may come out as a rounding error, which would make any difference significant.
    sd = float(good.std(ddof=1)) if np.ptp(good) > 1e-12 * np.abs(good).max() else 0.0
    reach = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / np.sqrt(n)
    return {"mean": mean, "sd": sd, "low": mean - reach, "high": mean + reach, "n": n}


def cells(table: pd.DataFrame, factors: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """A line a cell (factors without `seed`, in the order of the table) and metric.

    Returns:
        The factors, metric, mean, sd, low, high, n (seeds).
    """
    by = [name for name in factors if name != "seed"]
    lines = [
        {**dict(zip(by, cell, strict=True)), "metric": metric, **over_seeds(part[metric].to_numpy(float))}
        for cell, part in table.groupby(by, sort=False, dropna=False)
        for metric in metrics
        if metric in part
    ]
    return pd.DataFrame(lines, columns=[*by, "metric", "mean", "sd", "low", "high", "n"])


def differences(
    table: pd.DataFrame, baseline: Mapping[str, Any], factors: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Each level of the ablated factors less the baseline, by metric, paired by seed.

    A seed's difference is the mean over the cells of the other factors that level and baseline share; a seed counts
    where both have all of them.

    Args:
        baseline: the value of each ablated factor in the baseline cell.

    Returns:
        A line a level and metric: the ablated factors, metric, baseline and level (means over the seeds that count),
        difference, low, high, n (seeds), p of the paired t-test (NaN with one seed, and where all seeds differ by
        the same: there is no spread to test against), q by Benjamini and Hochberg over all
        lines with two seeds or more, one without p counting as p = 1.

    Raises:
        UserError: if the table lacks a factor.
    """
    ablated, others = _split(table, baseline, factors)
    lines: list[dict[str, Any]] = []
    for metric in (name for name in metrics if name in table):
        values = _values(table, ablated, others, metric)
        reference = values.get(tuple(baseline.values()), {})
        for level, found in values.items():
            if level == tuple(baseline.values()):
                continue
            places = {cell for cell, _ in found} & {cell for cell, _ in reference}
            pairs: list[list[float]] = []
            for seed in dict.fromkeys(seed for _, seed in found):
                keys = [(cell, seed) for cell in places]
                if keys and all(key in found and key in reference for key in keys):
                    pairs.append([float(np.mean([side[key] for key in keys])) for side in (reference, found)])
            lines.append({**dict(zip(ablated, level, strict=True)), "metric": metric, **_paired(pairs)})
    return _with_q(lines, [*ablated, "metric"])


def equal_levels(
    table: pd.DataFrame, baseline: Mapping[str, Any], factors: Sequence[str], metric: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of the baseline and of those levels at which `metric` is the baseline's, but for 5 %.

    Returns:
        These runs; and lines of `differences` of the other levels.
    """
    lines = differences(table, baseline, factors, [metric])
    apart = lines[lines["difference"].abs() > EQUAL * lines["baseline"].abs()]
    ablated = list(baseline)
    gone = set(apart[ablated].itertuples(index=False, name=None))
    kept = [level not in gone for level in table[ablated].itertuples(index=False, name=None)]
    return table[kept], apart


def efficiency(table: pd.DataFrame, baseline: Mapping[str, Any], factors: Sequence[str], reduced: str) -> pd.DataFrame:
    """What less of a metric costs each level, beside the baseline: in seconds and in explained variance.

    Args:
        table: with columns `seconds`, `ev_total` and `reduced`.
        reduced: a metric of which less is better.

    Returns:
        A line a level: the ablated factors, reduction (baseline less level), seconds (further ones), ev_lost,
        per_second and per_ev (NaN unless something is reduced and something is paid), n (seeds).
    """
    lines = differences(table, baseline, factors, [reduced, "seconds", "ev_total"])
    ablated = list(baseline)
    found = []
    for level, part in lines.groupby(ablated, sort=False):
        by = part.set_index("metric")
        reduction, seconds, lost = (
            sign * float(by.at[name, "difference"]) for name, sign in ((reduced, -1), ("seconds", 1), ("ev_total", -1))
        )
        paid = {"per_second": seconds, "per_ev": lost}
        ratios = {name: reduction / price if reduction > 0 and price > 0 else np.nan for name, price in paid.items()}
        known = dict(zip(ablated, level, strict=True))
        found.append(
            {**known, "reduction": reduction, "seconds": seconds, "ev_lost": lost, **ratios, "n": int(by["n"].min())}
        )
    return pd.DataFrame(found, columns=[*ablated, "reduction", "seconds", "ev_lost", "per_second", "per_ev", "n"])


def matched_differences(
    table: pd.DataFrame, baseline: Mapping[str, Any], factors: Sequence[str], metrics: Sequence[str], matched: str
) -> pd.DataFrame:
    """As `differences`, at equal `matched`: each level's curve over K or alpha is read off where the baseline is.

    On one seed, a level's points (`matched`, metric) are joined by `interpolated`, and evaluated at the baseline's
    value of `matched` on the same seed. A seed for which that lies outside of the level's own points doesn't count.

    Returns:
        A line a level, cell of the other factors (of the baseline: the value of K says where) and metric: the factors,
        metric, at (the baseline's mean of `matched`), baseline, level, difference, low, high, n, p, q,
        least and most (the range of `matched` in which all seeds of the level have points), points (of a curve).

    Raises:
        UserError: if the table lacks a factor or `matched`.
    """
    if matched not in table:
        raise UserError(f"the runs have no {matched!r} to be compared at")
    ablated, others = _split(table, baseline, factors)
    fixed = [name for name in others if name not in ALONG]
    costs = _values(table, ablated, others, matched)
    reference = tuple(baseline.values())
    lines: list[dict[str, Any]] = []
    for metric in (name for name in metrics if name in table and name != matched):
        values = _values(table, ablated, others, metric)
        for level, found in values.items():
            if level == reference:
                continue
            for cell in dict.fromkeys(cell for cell, _ in values.get(reference, {})):
                held = [dict(zip(others, cell, strict=True))[name] for name in fixed]
                pairs, at, ends, points = [], [], [], []  # by seed
                for seed in [seed for other, seed in values[reference] if other == cell]:
                    keys = [
                        (other, s)
                        for other, s in found
                        if s == seed and [dict(zip(others, other, strict=True))[name] for name in fixed] == held
                    ]
                    if not keys:
                        continue
                    x, y = [np.array([side[key] for key in keys]) for side in (costs[level], found)]
                    here = costs[reference][(cell, seed)]
                    value = interpolated(x, y, here)
                    ends.append((x.min(), x.max()))
                    points.append(len(keys))
                    if np.isfinite(value):
                        pairs.append([values[reference][(cell, seed)], value])
                    at.append(here)
                lines.append(
                    {
                        **dict(zip(ablated, level, strict=True)),
                        **dict(zip(others, cell, strict=True)),
                        "metric": metric,
                        "at": float(np.mean(at)) if at else np.nan,
                        "least": max((low for low, _ in ends), default=np.nan),
                        "most": min((high for _, high in ends), default=np.nan),
                        "points": min(points, default=0),
                        **_paired(pairs),
                    }
                )
    return _with_q(lines, [*ablated, *others, "metric", "at", "least", "most", "points"])


def interpolated(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """The curve through (x, y) at `at`: monotone cubic (Fritsch and Carlson's condition) in log x, so that it has no
    extremum between two points; NaN outside of the points, or where fewer than two have different x above 0.
    """
    from scipy.interpolate import PchipInterpolator

    good = np.isfinite(x) & np.isfinite(y) & (np.asarray(x) > 0)
    places, owner = np.unique(np.asarray(x, float)[good], return_inverse=True)
    if len(places) < 2 or not places[0] * (1 - 1e-9) <= at <= places[-1] * (1 + 1e-9):
        return float("nan")
    heights = np.bincount(owner, np.asarray(y, float)[good]) / np.bincount(owner)
    curve = PchipInterpolator(np.log(places), heights)
    return float(curve(np.log(np.clip(at, places[0], places[-1]))))


def _split(table: pd.DataFrame, baseline: Mapping[str, Any], factors: Sequence[str]) -> tuple[list[str], list[str]]:
    """The ablated factors, and the others without the seed."""
    missing = [name for name in (*factors, *baseline, "seed") if name not in table]
    if missing:
        raise UserError(f"the runs have no factor {missing[0]!r}")
    return list(baseline), [name for name in factors if name not in baseline and name != "seed"]


def _values(
    table: pd.DataFrame, ablated: Sequence[str], others: Sequence[str], metric: str
) -> dict[tuple, dict[tuple[tuple, Any], float]]:
    """level -> (cell of the other factors, seed) -> value, where it is finite."""
    found: dict[tuple, dict[tuple[tuple, Any], float]] = {}
    for line in table.to_dict("records"):
        value = line[metric]
        if value is not None and np.isfinite(value):
            level, cell = tuple(line[name] for name in ablated), tuple(line[name] for name in others)
            found.setdefault(level, {})[(cell, line["seed"])] = float(value)
    return found


def _paired(pairs: Sequence[Sequence[float]]) -> dict[str, float]:
    """(baseline, level) of each seed -> their means, the difference with its interval, and p."""
    from scipy.stats import t

    two = np.asarray(pairs, float).reshape(-1, 2)
    found = over_seeds(two[:, 1] - two[:, 0])
    p = np.nan
    if found["n"] > 1 and found["sd"] > 0:
        p = 2 * float(t.sf(abs(found["mean"]) / (found["sd"] / np.sqrt(found["n"])), found["n"] - 1))
    means = two.mean(0) if len(two) else (np.nan, np.nan)
    return {
        "baseline": float(means[0]),
        "level": float(means[1]),
        "difference": found["mean"],
        "low": found["low"],
        "high": found["high"],
        "n": int(found["n"]),
        "p": p,
    }


def _with_q(lines: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    order = [*columns, "baseline", "level", "difference", "low", "high", "n", "p"]
    found = pd.DataFrame(lines, columns=order)
    p = found["p"].to_numpy(float)
    tested = np.isfinite(p)
    found["q"] = np.nan
    found.loc[tested, "q"] = benjamini_hochberg(p[tested], tests=int((found["n"] > 1).sum()))
    return found
