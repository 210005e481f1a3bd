"""Checks of statements about a method that experiments ablate: its claims name the kind of experiment that would tell.

Seeds are the sample. Where two things are compared, the difference is taken within seeds and its interval is Student's
t: a difference counts if the interval leaves out 0, and with one seed nothing is judged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sae.analysis.ablations import cells, differences, matched_differences, over_seeds
from sae.analysis.claims.documents import Claim, Document
from sae.analysis.claims.finding import DIFFERS, REFUTED, REPRODUCED, Finding, untestable, waiting
from sae.analysis.claims.measured import Ablation, Measured

_MEASUREMENTS = ("concepts", "equal_bits", "absorption", "error_prediction")
_SHARES = ("absorption_rate", "dead", "dense", "diverged", "recall", "deviation", "confirmed")


def text_of(metric: str, number: float, signed: bool = False) -> str:
    """Shares in per cent, other numbers with three decimals or digits."""
    plus = "+" if signed else ""
    if any(word in metric for word in _SHARES) and "standard" not in metric:
        return f"{100 * number:{plus}.1f} {'pp' if signed else '%'}"
    if abs(number) >= 10:
        return f"{number:{plus},.1f}"
    return f"{number:{plus}.3f}" if abs(number) >= 0.01 or not number else f"{number:{plus}.2g}"


def bounded(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """The extreme cell of `metric` (mean over seeds; `way` `below` or `above`): reproduced if it keeps `limit`, differs
    if it keeps `loosely`, refuted otherwise."""
    found = runs_of(claim, measured)
    if isinstance(found, Finding):
        return found
    ablation, runs = found
    metric, way, limit = (claim.arguments[name] for name in ("metric", "way", "limit"))
    table = cells(runs, ablation.factors, [metric]).dropna(subset=["mean"])
    sign = 1 if way == "below" else -1
    worst = table.loc[(sign * table["mean"]).idxmax()]
    value = float(worst["mean"])
    keeps = [sign * value <= sign * bound for bound in (limit, claim.arguments.get("loosely", limit))]
    verdict = REPRODUCED if keeps[0] else DIFFERS if keeps[1] else REFUTED
    what = "at most" if sign > 0 else "at least"
    kept = int((sign * table["mean"] <= sign * limit).sum())
    reason = f"{kept} of {len(table)} cells keep {text_of(metric, limit)}; the extreme one is {_cell(worst, ablation)}"
    return _finding(ablation, verdict, f"{text_of(metric, value)} {what}", reason, worst)


def against_baseline(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """`metric` of the baseline against another `level` of the ablated factors: reproduced if the baseline is `lower`
    or `higher` (`way`) by more than chance, refuted if the other way round, differs if the seeds can't tell.

    With `matched`, at equal values of the experiment's matched metric, the level's curve being interpolated. With
    `equal`, cells are judged alone in which the baseline's and the level's mean of that metric differ by at most the
    share `within` of the baseline's.
    """
    found = runs_of(claim, measured)
    if isinstance(found, Finding):
        return found
    ablation, runs = found
    metric, level = claim.arguments["metric"], claim.arguments["level"]
    if claim.arguments.get("matched"):
        table = matched_differences(runs, ablation.baseline, ablation.factors, [metric], ablation.matched)
    else:
        table = differences(runs, ablation.baseline, ablation.factors, [metric])
    for name, wanted in level.items():
        table = table[table[name] == wanted]
    table = table[table["difference"].notna()]
    if table.empty:
        where = f" where both have points at one {ablation.matched}" if claim.arguments.get("matched") else ""
        return untestable(f"{ablation.experiment!r} has no finished runs of both sides in one seed{where}")
    if equal := claim.arguments.get("equal"):
        table, apart = _alike(table, runs, ablation, equal, claim.arguments["within"])
        if table.empty:
            return untestable(f"{ablation.experiment!r} has no runs at equal {equal}: {apart}")
    return _judged(claim, ablation, metric, [_Side(line, _cell(line, ablation)) for line in table.to_dict("records")])


def beside(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """`metric` against `other` of the same runs, by cell: reproduced if it is `higher` or `lower` (`way`) in all cells
    by more than chance, refuted if it is the other way round in all, differs otherwise."""
    found = runs_of(claim, measured, "other")
    if isinstance(found, Finding):
        return found
    ablation, runs = found
    metric, other = claim.arguments["metric"], claim.arguments["other"]
    by = [name for name in ablation.factors if name != "seed"]
    sides = []
    for _, part in runs.dropna(subset=[metric, other]).groupby(by, sort=False, dropna=False):
        values = over_seeds((part[other] - part[metric]).to_numpy(float))
        line = {
            **part.iloc[0][by].to_dict(),
            "baseline": float(part[metric].mean()),
            "level": float(part[other].mean()),
            "difference": values["mean"],
            **{name: values[name] for name in ("low", "high", "n")},
        }
        sides.append(_Side(line, _cell(line, ablation)))
    return _judged(claim, ablation, metric, sides)


def along(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Whether `metric` rises or falls (`way`) at every step of `factor`, means over seeds, the other factors held:
    reproduced if at all steps, differs if at more than half, refuted otherwise."""
    found = runs_of(claim, measured)
    if isinstance(found, Finding):
        return found
    ablation, runs = found
    metric, factor, way = (claim.arguments[name] for name in ("metric", "factor", "way"))
    table = cells(runs, ablation.factors, [metric]).dropna(subset=["mean"])
    others = [name for name in ablation.factors if name not in ("seed", factor)]
    held = total = 0
    for _, part in table.groupby(others, sort=False, dropna=False) if others else [((), table)]:
        steps = part.sort_values(factor)["mean"].diff().iloc[1:]
        held += int((steps > 0).sum() if way == "rises" else (steps < 0).sum())
        total += len(steps)
    if not total:
        return untestable(f"{ablation.experiment!r} has one value of {factor} alone")
    ends = table.groupby(factor)["mean"].mean().sort_index()
    first, last = (text_of(metric, ends.iloc[at]) for at in (0, -1))
    reason = f"on average {first} at {factor} {ends.index[0]:g} and {last} at {ends.index[-1]:g}"
    verdict = REPRODUCED if held == total else DIFFERS if held > total / 2 else REFUTED
    return Finding(verdict, f"{way} at {held} of {total} steps", reason, held / total, n=total,
                   experiment=ablation.experiment)  # fmt: skip


def smaller(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Whether a cell (mean over seeds) is `times` smaller than dense float32 and still good for something: reproduced
    if its reconstruction loss is at most `share` of predicting the mean, differs if only cells that lose more are."""
    found = runs_of(claim, measured)
    if isinstance(found, Finding):
        return found
    ablation, runs = found
    by = [name for name in ablation.factors if name != "seed"]
    table = runs.groupby(by, sort=False, dropna=False)[
        ["compression", "reconstruction_loss", "mean_predictor_loss"]
    ].mean()
    table = table.reset_index().assign(
        left=table["reconstruction_loss"].to_numpy() / table["mean_predictor_loss"].to_numpy()
    )
    times, share = claim.arguments["times"], claim.arguments["share"]
    enough = table[table["compression"] >= times]
    chosen = (enough if len(enough) else table).sort_values("left" if len(enough) else "compression", kind="stable")
    line = chosen.iloc[0 if len(enough) else -1]
    verdict = REFUTED if enough.empty else REPRODUCED if line["left"] <= share else DIFFERS
    value = f"{line['compression']:.1f}x at {100 * line['left']:.0f} % of the mean predictor's loss"
    found_at = "of those the least is lost in" if len(enough) else "the smallest codes are those of"
    reason = (
        f"{len(enough)} of {len(table)} cells are {times:g} times smaller or more, from "
        f"{table['compression'].min():.1f}x to {table['compression'].max():.1f}x; {found_at} {_cell(line, ablation)}"
    )
    return _finding(ablation, verdict, value, reason, line, number=float(line["compression"]))


def _alike(
    table: pd.DataFrame, runs: pd.DataFrame, ablation: Ablation, metric: str, within: float
) -> tuple[pd.DataFrame, str]:
    """Those lines of a table of differences whose sides have the same `metric`; and of the others how far they differ.

    Seeds count where both sides have what the table compares.
    """
    other = differences(runs, ablation.baseline, ablation.factors, [metric])
    by = [name for name in ablation.factors if name != "seed" and name in other and name in table]
    both = table.merge(other[[*by, "baseline", "level"]], on=by, how="left", suffixes=("", "_equal"))
    apart = ((both["level_equal"] - both["baseline_equal"]).abs() / both["baseline_equal"]).to_numpy(float)
    near = apart <= within
    worst = f"it differs by {100 * np.nanmax(apart):.0f} %" if np.isfinite(apart).any() else "it is not known"
    return table[near], worst


class _Side:
    """A comparison in one cell: `line` has baseline, level, difference (level less baseline), low, high, n."""

    def __init__(self, line: dict[str, Any], where: str) -> None:
        self.line, self.where = line, where
        self.sure = bool(np.isfinite(line["low"]) and (line["low"] > 0 or line["high"] < 0))


def _judged(claim: Claim, ablation: Ablation, metric: str, sides: list[_Side]) -> Finding:
    """All cells one way: reproduced or refuted. Else it differs, and says in how many."""
    sign = 1 if claim.arguments["way"] == "lower" else -1  # the sign of level less baseline if the claim holds
    seeds = min(int(side.line["n"]) for side in sides)
    first = max(sides, key=lambda side: abs(side.line["difference"]))
    line = first.line
    value = f"{text_of(metric, line['baseline'])} against {text_of(metric, line['level'])}"
    if seeds < 2:
        return untestable("one seed tells no difference from chance", value=value, number=line["difference"],
                          n=seeds, experiment=ablation.experiment)  # fmt: skip
    held = sum(side.sure and sign * side.line["difference"] > 0 for side in sides)
    against = sum(side.sure and sign * side.line["difference"] < 0 for side in sides)
    verdict = REPRODUCED if held == len(sides) else REFUTED if against == len(sides) else DIFFERS
    reason = (
        f"in {held} of {len(sides)} cells as it says, in {against} the other way round, by more than the seeds' "
        f"interval; largest difference {text_of(metric, line['difference'], signed=True)} in {first.where}"
    )
    return Finding(
        verdict, value, reason, line["difference"], line["low"], line["high"], seeds, experiment=ablation.experiment
    )


def runs_of(claim: Claim, measured: Measured | None, *more: str) -> tuple[Ablation, pd.DataFrame] | Finding:
    """The experiment of the claim's `kind` with its runs, those of `where` alone; or why it can't be judged."""
    if measured is None:
        return waiting()
    kind = claim.arguments["kind"]
    ablation = measured.ablations.get(kind)
    if ablation is None:
        return waiting(f"no {kind} on these activations has a finished run")
    runs = ablation.runs
    for name, wanted in claim.arguments.get("where", {}).items():
        runs = runs[runs[name].isin(wanted if isinstance(wanted, list) else [wanted])]
    for name in [claim.arguments.get("metric"), *(claim.arguments[part] for part in more)]:
        if name is not None and (name not in runs or runs[name].notna().sum() == 0):
            measurement = next((one for one in _MEASUREMENTS if name.startswith(f"{one}_")), None)
            if measurement:
                return waiting(f"{ablation.experiment!r} was not measured by {measurement.replace('_', '-')}")
            return untestable(f"the runs of {ablation.experiment!r} have no {name}")
    if runs.empty:
        return waiting(f"{ablation.experiment!r} has no finished run of {claim.arguments['where']}")
    return ablation, runs


def _cell(line: Any, ablation: Ablation) -> str:
    """`N 2,048, K 32, alpha 5` of a line with the factors as columns."""
    words = {"d_sae": "N", "k": "K"}
    found = []
    for name in ablation.factors:
        if name != "seed" and name in line:
            value = line[name]
            found.append(f"{words.get(name, name.replace('_', ' '))} {value:,}" if isinstance(value, int | np.integer)
                         else f"{words.get(name, name.replace('_', ' '))} {value}")  # fmt: skip
    return ", ".join(found)


def _finding(
    ablation: Ablation, verdict: str, value: str, reason: str, line: Any, number: float | None = None
) -> Finding:
    low, high = (float(line[name]) if name in line and np.isfinite(line[name]) else None for name in ("low", "high"))
    mean = float(line["mean"]) if number is None else number
    n = int(line["n"]) if "n" in line else None
    return Finding(verdict, value, reason, mean, low, high, n, experiment=ablation.experiment)
