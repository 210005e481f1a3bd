"""How far a setting carries: the check of a statement that it is hard, or easy, to tune."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.analysis.ablations import over_seeds
from sae.analysis.claims.ablations import runs_of
from sae.analysis.claims.documents import Claim, Document
from sae.analysis.claims.finding import DIFFERS, REFUTED, REPRODUCED, Finding, untestable
from sae.analysis.claims.measured import Measured


def elasticity(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """d log `metric` / d log `setting`: what a per cent of the setting does to the metric, in per cent.

    The slope between neighbouring values of the setting whose metric lies in `between` (means of the two), averaged
    within each seed; Student's t over seeds. Reproduced if the interval lies beyond -`limit` or `limit`, refuted if it
    lies within them, differs otherwise. Beside it: how far the metric at one value of the setting moves over `across`.
    """
    found = runs_of(claim, measured)
    if isinstance(found, Finding):
        return found
    ablation, runs = found
    metric, setting, across = (claim.arguments[name] for name in ("metric", "setting", "across"))
    low, high = claim.arguments["between"]
    slopes = []
    for _, seed in runs.dropna(subset=[metric]).groupby("seed"):
        others = [name for name in ablation.factors if name not in ("seed", setting)]
        steps = [_slopes(part, metric, setting, low, high) for _, part in seed.groupby(others, dropna=False)]
        if joined := [slope for part in steps for slope in part]:
            slopes.append(float(np.mean(joined)))
    if len(slopes) < 2:
        return untestable(
            f"{ablation.experiment!r} has no two seeds with neighbouring {setting} whose {metric} lies in {low:g} to "
            f"{high:g}",
            experiment=ablation.experiment,
        )
    over = over_seeds(np.array(slopes))
    limit = claim.arguments["limit"]
    verdict = DIFFERS
    if over["low"] > limit or over["high"] < -limit:
        verdict = REPRODUCED
    elif -limit < over["low"] and over["high"] < limit:
        verdict = REFUTED
    value = f"{over['mean']:+.2f} % of {metric} per % of {setting}"
    reason = f"95 % interval {over['low']:+.2f} to {over['high']:+.2f} over {len(slopes)} seeds"
    if (times := _factor_across(runs, metric, setting, across, low, high)) > 0:
        reason += f"; the same {setting} gives up to {times:.1f} times the {metric} at another {across}"
    return Finding(
        verdict, value, reason, over["mean"], over["low"], over["high"], len(slopes), experiment=ablation.experiment
    )


def _slopes(part: pd.DataFrame, metric: str, setting: str, low: float, high: float) -> list[float]:
    """Between neighbouring values of the setting, where both sides' geometric mean of the metric lies in the range."""
    line = part[part[metric] > 0].sort_values(setting)
    x, y = np.log(line[setting].to_numpy(float)), np.log(line[metric].to_numpy(float))
    middle = np.exp((y[1:] + y[:-1]) / 2)
    chosen = (middle >= low) & (middle <= high) & (np.diff(x) > 0)
    return [float(slope) for slope in (np.diff(y) / np.maximum(np.diff(x), 1e-12))[chosen]]


def _factor_across(runs: pd.DataFrame, metric: str, setting: str, across: str, low: float, high: float) -> float:
    """The largest ratio of the metric (mean over seeds) at one value of the setting over those of `across`, of those
    of which one lies in the range; 0 where there is none."""
    by = [name for name in ("method", "d_sae", setting) if name in runs]
    means = runs.groupby([*by, across], dropna=False)[metric].mean().reset_index()
    largest = 0.0
    for _, part in means[means[metric] > 0].groupby(by, dropna=False):
        if len(part) > 1 and part[metric].between(low, high).any():
            largest = max(largest, float(part[metric].max() / part[metric].min()))
    return largest
