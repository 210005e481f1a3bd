"""The verdict of an ablation in sentences, from the tables of `sae.analysis.ablations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.analysis.ablations import EQUAL
from sae.figures.style import metric_kind, metric_title, number_text
from sae.ui.ablation_data import level_name
from sae.ui.words import count, plural

SIGNIFICANT = 0.05
MOST_NAMED = 3  # further metrics of a level that moved


def short(metric: str) -> str:
    """A metric within a sentence: `reconstruction loss`."""
    title = metric_title(metric).split(" (")[0].split(",")[0]
    return title[:1].lower() + title[1:]


def beyond(lines: pd.DataFrame) -> np.ndarray:
    """[lines]: whether a difference is beyond the seeds' spread, false discovery controlled over all of them."""
    return lines["q"].to_numpy(float) < SIGNIFICANT


def size(value: float, kind: str) -> str:
    """The size of a difference and its direction: `0.051 higher`, `3.1 pp lower`."""
    if value == 0:
        return "no difference"
    amount = number_text(abs(value), kind)
    if kind == "share":
        amount = amount.replace(" %", " pp")
    return f"{amount} {'higher' if value > 0 else 'lower'}"


def difference(line: Mapping[str, Any], metric: str) -> str:
    """`0.051 higher (0.047 to 0.055, 5 seeds)`."""
    kind, value = metric_kind(metric), float(line["difference"])
    said, n = size(value, kind), int(line["n"])
    if n < 2:
        return f"{said} (one seed, no interval)"
    low, high = float(line["low"]), float(line["high"])
    if low == high:
        return f"{said} (the same in all {n} seeds)"
    if low * high > 0:
        ends = sorted((abs(low), abs(high)))
        words = [number_text(end, kind).replace(" %", " pp" if kind == "share" else " %") for end in ends]
    else:
        words = [size(low, kind), size(high, kind)]
    return f"{said} ({' to '.join(words)}, {n} seeds)"


def headline(lines: pd.DataFrame, metric: str, baseline: str, seeds: int) -> str:
    """What became of one metric over all levels, in a sentence."""
    mine = lines[(lines["metric"] == metric) & (lines["n"] > 0)]
    if mine.empty:
        return f"No level can be compared with {baseline} yet: each needs a seed that the baseline has too."
    if int(mine["n"].max()) < 2:
        more = "Train more with --seeds 3 or above." if seeds < 2 else "Others are not finished yet."
        return f"One seed decides nothing: these differences from {baseline} have no interval. {more}"
    moved = beyond(mine)
    value = mine["difference"].to_numpy(float)
    lower, higher = int((moved & (value < 0)).sum()), int((moved & (value > 0)).sum())
    sides = ((lower, "lower"), (higher, "higher"))
    ends = [f"{n} {'has' if n == 1 else 'have'} a {word} {short(metric)}" for n, word in sides if n]
    made = f"(q < {SIGNIFICANT} over {count(int((lines['n'] > 1).sum()))} comparisons)"
    if not ends:
        return f"By {short(metric)} these seeds tell no level apart from {baseline} {made}."
    rest = len(mine) - lower - higher
    return f"Of {len(mine)} {plural(len(mine), 'level')} {' and '.join(ends)} than {baseline} {made}" + (
        f"; these seeds can't tell {rest} apart from it." if rest else "."
    )


def level_lines(lines: pd.DataFrame, ablated: Sequence[str], metric: str) -> list[str]:
    """A line a level: the metric with its interval, then what else moved."""
    found = []
    for level, part in lines.groupby(list(ablated), sort=False):
        name = level_name(dict(zip(ablated, level, strict=True)))
        mine = part[(part["metric"] == metric) & (part["n"] > 0)]
        if mine.empty:
            found.append(f"{name}: nothing to compare yet.")
            continue
        line = mine.iloc[0].to_dict()
        said = f"{name}: {short(metric)} {difference(line, metric)}"
        if line["n"] > 1 and not beyond(mine)[0] and line["low"] != line["high"]:
            inside = line["low"] <= 0 <= line["high"]
            said += ", within the seeds' spread" if inside else f", though q is {line['q']:.2f}"
        rest = part[beyond(part) & (part["metric"] != metric)].sort_values("q", kind="stable")
        moved = [
            f"{short(other)} {size(by, metric_kind(other))}"
            for other, by in rest[["metric", "difference"]].itertuples(index=False)
        ]
        if len(moved) > MOST_NAMED:
            moved = [*moved[:MOST_NAMED], f"and {len(moved) - MOST_NAMED} more in the table"]
        found.append(f"{said}; {', '.join(moved)}." if moved else f"{said}.")
    return found


def matched_lines(lines: pd.DataFrame, ablated: Sequence[str], metric: str, matched: str) -> list[str]:
    """A line a level: its metric at each of the baseline's counts, or why it can't be read there."""
    found = []
    for level, part in lines[lines["metric"] == metric].groupby(list(ablated), sort=False):
        name, kind = level_name(dict(zip(ablated, level, strict=True))), metric_kind(matched)
        if part["points"].max() < 2:
            found.append(f"{name}: one configuration is no curve; train it at several K to compare it at equal count.")
            continue
        words = []
        for line in part.to_dict("records"):
            at = number_text(line["at"], kind)
            if line["n"] > 0:
                words.append(f"at {at} {difference(line, metric)}")
            else:
                ends = [number_text(line[end], kind) for end in ("least", "most")]
                words.append(f"at {at} not compared, outside of its {ends[0]} to {ends[1]}")
        found.append(f"{name}: {'; '.join(words)}.")
    return found


def apart_lines(lines: pd.DataFrame, ablated: Sequence[str], metric: str) -> list[str]:
    """A line a level that is not where the baseline is: why it is not judged. `lines`: of that metric."""
    kind, found = metric_kind(metric), []
    for line in lines.to_dict("records"):
        name = level_name({factor: line[factor] for factor in ablated})
        off = line["difference"] / abs(line["baseline"])
        found.append(
            f"{name}: not judged, {short(metric)} {number_text(line['level'], kind)} is {100 * abs(off):.0f} % "
            f"{'above' if off > 0 else 'below'} the baseline's {number_text(line['baseline'], kind)}."
        )
    return found


def aim_line(runs: pd.DataFrame, metric: str) -> str:
    """Where the baseline's runs ended beside the number that training aims at (`k`), if that is more than 5 % away."""
    if "k" not in runs or metric not in runs or runs[metric].isna().all():
        return ""
    means = runs.groupby("k")[metric].mean()
    k = max(means.index, key=lambda aim: abs(means[aim] / aim - 1))
    off = means[k] / k - 1
    if abs(off) <= EQUAL:
        return ""
    return (
        f"Training aims at {number_text(k, 'count')} active features; the baseline came to "
        f"{number_text(means[k], metric_kind(metric))}, {100 * abs(off):.0f} % {'above' if off > 0 else 'below'} that: "
        "levels agree with each other, not with the aim. Longer runs come nearer."
    )
