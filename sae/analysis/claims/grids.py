"""Checks of statements about a whole grid: on the document's own table, or on the one measured here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sae.analysis.claims.documents import Claim, Document
from sae.analysis.claims.finding import DIFFERS, NO_EXPERIMENT, REFUTED, REPRODUCED, Finding, untestable, waiting
from sae.analysis.claims.measured import Measured
from sae.analysis.death_formula import death_formula
from sae.analysis.pareto import non_dominated
from sae.analysis.variance_share import variance_share, variance_share_range

GRID = "grid"


def table(claim: Claim, document: Document, measured: Measured | None, metrics: list[str]) -> pd.DataFrame | str:
    """k, d_sae and `metrics`, a line a cell (seeds averaged), of the document or of the experiment; or why there is
    none, in words. Metrics are taken on the split that `splits` names, else on validation."""
    if claim.evidence == "document":
        return document.tables[GRID]
    if measured is None:
        return NO_EXPERIMENT
    splits = claim.arguments.get("splits", {})
    found = None
    for metric in metrics:
        part = measured.cells(metric, splits.get(metric, "validation")).drop(columns="n")
        found = part if found is None else found.merge(part, on=["k", "d_sae"])
    assert found is not None
    if found.empty:
        return f"experiment {measured.experiment!r} has no finished runs of the preset {measured.preset!r}"
    return found.sort_values(["k", "d_sae"], ignore_index=True)


def cell_text(line: Any) -> str:
    """A cell of the grid in words: its K and its dictionary size."""
    return f"K {line['k']:g}, d {line['d_sae']:,.0f}"


def pareto(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """How many configurations are not dominated. `tests` lists objectives (`label`, `maximize`, `minimize`,
    `strict_all`): the first gives the verdict, reproduced if every configuration passes; the others are told."""
    tests = claim.arguments["tests"]
    metrics = sorted({name for test in tests for name in [*test["maximize"], *test["minimize"]]} - {"k", "d_sae"})
    found = table(claim, document, measured, metrics)
    if isinstance(found, str):
        return waiting() if found == NO_EXPERIMENT else untestable(found)
    if len(found) < 2:
        return untestable("one configuration alone is always on its frontier")
    counts = [
        int(non_dominated(found, test["maximize"], test["minimize"], test.get("strict_all", False)).sum())
        for test in tests
    ]
    others = "; ".join(
        f"{count} of {len(found)} {test['label']}" for count, test in zip(counts[1:], tests[1:], strict=True)
    )
    whole = counts[0] == len(found)
    reason = f"{counts[0]} of {len(found)} {tests[0]['label']}" + (f"; {others}" if others else "")
    return Finding(REPRODUCED if whole else REFUTED, f"{counts[0]} of {len(found)}", reason, counts[0], n=len(found))


def share(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Share of the variance of `response` over the grid by K, dictionary size and their interaction; reproduced if
    `dominant` has more than half."""
    response, dominant = claim.arguments["response"], claim.arguments["dominant"]
    found = table(claim, document, measured, [response])
    if isinstance(found, str):
        return waiting() if found == NO_EXPERIMENT else untestable(found)
    if found["k"].nunique() < 2 or found["d_sae"].nunique() < 2:
        return untestable("a share by factor needs two values of K and two dictionary sizes")
    shares = variance_share(found, response).set_index("component")["share"]
    text = f"{100 * shares['k']:.1f} % K, {100 * shares['d_sae']:.1f} % dictionary size"
    low = high = None
    seeds = 1
    if claim.evidence == "measured" and measured is not None:
        lines = measured.lines(claim.arguments.get("splits", {}).get(response, "validation"))
        seeds = int(lines["seed"].nunique())
        if seeds > 1:
            ranges = variance_share_range(lines, response).set_index("component").loc[dominant]
            low, high = float(ranges["low"]), float(ranges["high"])
    spans = [found[name].max() / found[name].min() for name in ("k", "d_sae")]
    reason = (
        f"K spans a factor of {spans[0]:g} here and dictionary size one of {spans[1]:g}; per doubling EV rises by "
        f"{_per_doubling(found, response, 'k'):+.3f} and {_per_doubling(found, response, 'd_sae'):+.3f}"
    )
    if low is not None:
        reason += f"; the interval is the range over {seeds} seeds"
    return Finding(
        REPRODUCED if shares[dominant] > 0.5 else REFUTED, text, reason, float(shares[dominant]), low, high, seeds
    )


def _per_doubling(found: pd.DataFrame, response: str, factor: str) -> float:
    """Slope of `response` against log2 of a factor, the other one held (least squares over the cells)."""
    design = np.column_stack([np.ones(len(found)), np.log2(found["k"]), np.log2(found["d_sae"])])
    weights = np.linalg.lstsq(design, found[response].to_numpy(float), rcond=None)[0]
    return float(weights[1 if factor == "k" else 2])


def formula_of_death(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Death against max(0, 1 - K n / (d threshold)): reproduced if one threshold comes within `within` everywhere."""
    found = table(claim, document, measured, ["dead"])
    if isinstance(found, str):
        return waiting() if found == NO_EXPERIMENT else untestable(found)
    rows = document.constants["n"] if claim.evidence == "document" or measured is None else measured.setting["n_rows"]
    result = death_formula(found, int(rows or 0))
    errors = result.table["error"].abs()
    if errors.isna().all():
        return untestable("the grid has no measured death")
    worst = result.table.loc[errors.idxmax()]
    needed = result.table["threshold"].dropna()
    reason = f"worst in {cell_text(worst)}: {100 * worst['predicted']:.1f} % for {100 * worst['dead']:.1f} %"
    if len(needed):
        reason += (
            f"; to be exact the threshold would have to go from {needed.min():,.0f} to {needed.max():,.0f}, the mean "
            "uses of a living feature: it restates the death that it should predict"
        )
    value = f"off by up to {100 * errors.max():.0f} pp at the best threshold, {result.threshold:,.0f}"
    met = errors.max() <= claim.arguments["within"]
    return Finding(REPRODUCED if met else REFUTED, value, reason, float(errors.max()), n=int(errors.notna().sum()))


def steps(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Whether `metric` rises or falls (`way`) at every step `along` one factor, within each value of the other.

    Reproduced if at all steps, differs if at more than half, refuted otherwise.
    """
    metric, along, way = (claim.arguments[name] for name in ("metric", "along", "way"))
    within = "d_sae" if along == "k" else "k"
    found = table(claim, document, measured, [metric])
    if isinstance(found, str):
        return waiting() if found == NO_EXPERIMENT else untestable(found)
    held, against = 0, []
    for _, lines in found.groupby(within):
        lines = lines.sort_values(along)
        change = lines[metric].diff().iloc[1:]
        good = change > 0 if way == "rises" else change < 0
        held += int(good.sum())
        against += [f"{cell_text(lines.loc[i])} ({change[i]:+.3f})" for i in good.index[~good]]
    total = held + len(against)
    if not total:
        return untestable(f"the grid has one value of {along} alone")
    verdict = REPRODUCED if held == total else DIFFERS if held > total / 2 else REFUTED
    reason = ""
    if against:
        more = f" and {len(against) - 3} more" if len(against) > 3 else ""
        reason = f"not on the way to {', '.join(against[:3])}{more}"
        if measured is None or claim.evidence == "document" or measured.lines("all")["seed"].nunique() < 2:
            reason += "; from one seed, so that small steps may be chance"
    return Finding(verdict, f"at {held} of {total} steps", reason, held / total, n=total)


def best_cell(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Which configuration has the highest (or lowest: `way`) `metric`; reproduced if it is `k`, `d_sae`."""
    given = claim.arguments
    metric, sign = given["metric"], 1 if given["way"] == "highest" else -1
    found = table(claim, document, measured, [metric])
    if isinstance(found, str):
        return waiting() if found == NO_EXPERIMENT else untestable(found)
    ranked = found.sort_values(metric, ascending=sign < 0, ignore_index=True)
    first = ranked.iloc[0]
    expected = f"K {given['k']}, d {given['d_sae']:,}"
    if not ((found["k"] == given["k"]) & (found["d_sae"] == given["d_sae"])).any():
        return untestable(f"the experiment has no cell {expected}")
    reason = ""
    if len(ranked) > 1:
        second = ranked.iloc[1]
        reason = f"{abs(first[metric] - second[metric]):.3f} {'above' if sign > 0 else 'below'} {cell_text(second)}"
        if claim.evidence == "document":
            reason += ", from one seed each"
    agrees = (first["k"], first["d_sae"]) == (given["k"], given["d_sae"])
    run = measured.run_of(int(first["k"]), int(first["d_sae"])) if claim.evidence == "measured" and measured else None
    return Finding(
        REPRODUCED if agrees else DIFFERS, f"{cell_text(first)}: {first[metric]:.3f}", reason, run=run, n=len(ranked)
    )


def largest_effect(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """The largest gain in `metric` from the smallest to the largest dictionary, over K: reproduced if below `below`."""
    metric = claim.arguments["metric"]
    found = table(claim, document, measured, [metric])
    if isinstance(found, str):
        return waiting() if found == NO_EXPERIMENT else untestable(found)
    gains = {}
    for k, lines in found.groupby("k"):
        lines = lines.sort_values("d_sae")
        if len(lines) > 1:
            gains[k] = lines[metric].iloc[-1] - lines[metric].iloc[0]
    if not gains:
        return untestable("the experiment has one dictionary size alone")
    k = max(gains, key=lambda key: gains[key])
    texts = ", ".join(f"{100 * gain:+.1f} pp at K {key:g}" for key, gain in gains.items())
    return Finding(
        REPRODUCED if gains[k] < claim.arguments["below"] else REFUTED,
        f"{100 * gains[k]:+.1f} pp at most",
        texts,
        float(gains[k]),
        n=len(gains),
    )
