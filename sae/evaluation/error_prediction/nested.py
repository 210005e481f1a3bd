"""The full protocol for one slice: nested, grouped cross-validation of every probe and baseline in the same folds.

Outer: 5 folds, repeated 5 times; inner: 5 folds over C. A repeat gives each problem one prediction by a probe that saw
neither it nor its group; metrics pool a repeat's predictions and are means over repeats. Ranks (AUROC, AUPRC) are taken
of the linear predictors, chances (Brier, ECE, accuracy) after the class weights are undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sae.evaluation.bootstrap import interval
from sae.evaluation.error_prediction import metrics
from sae.evaluation.error_prediction.folds import grouped_folds, splits
from sae.evaluation.error_prediction.probes import CS, Features, chances, choose_C, predict

if TYPE_CHECKING:
    import pandas as pd

SEED = 0


@dataclass(frozen=True)
class Predictions:
    """Predictions of problems that were held out: `scores` and `chances` [repeats, n], `Cs` chosen [repeats, folds]."""

    scores: np.ndarray
    chances: np.ndarray
    Cs: np.ndarray


def cross_validate(
    features: Mapping[str, Features],
    wrong: np.ndarray,
    group: np.ndarray,
    *,
    repeats: int = 5,
    outer: int = 5,
    inner: int = 5,
    seed: int = SEED,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Predictions]:
    """Predictions by every probe, all in the same outer and inner folds; and of `majority`, the training share.

    Args:
        features: probes by name, each over the same n problems. wrong: bool [n]. group: int [n].
    """
    generator = np.random.default_rng(seed)
    n, total, done = len(wrong), repeats * outer * len(features), 0
    names = [*features, "majority"]
    scores = {name: np.full((repeats, n), np.nan) for name in names}
    likely = {name: np.full((repeats, n), np.nan) for name in names}
    chosen = {name: np.full((repeats, outer), np.nan) for name in names}
    for repeat in range(repeats):
        for number, (train, held) in enumerate(splits(grouped_folds(wrong, group, outer, generator))):
            inside = inner_folds(wrong, group, train, inner, generator)
            for name, one in features.items():
                fit = one.on(train, wrong)
                C = float(CS[choose_C(fit, wrong, train, inside)])
                eta = predict(fit, wrong, train, C)
                scores[name][repeat, held] = eta[held]
                likely[name][repeat, held] = chances(eta, wrong, train)[held]
                chosen[name][repeat, number] = C
                done += 1
                watch(done, total)
            scores["majority"][repeat, held] = 0.0
            likely["majority"][repeat, held] = wrong[train].mean()
    return {name: Predictions(scores[name], likely[name], chosen[name]) for name in names}


def inner_folds(
    wrong: np.ndarray, group: np.ndarray, train: np.ndarray, n_folds: int, generator: np.random.Generator
) -> np.ndarray:
    """int [n]: grouped folds of the training rows, -1 outside of them."""
    result = np.full(len(wrong), -1)
    _, within = np.unique(group[train], return_inverse=True)
    result[train] = grouped_folds(wrong[train], within, n_folds, generator)
    return result


def measured(
    found: Mapping[str, Predictions], wrong: np.ndarray, group: np.ndarray, *, draws: int = 2000, seed: int = SEED
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics of every probe with 95 % bootstrap intervals over groups, and the bootstrap draws of AUROC.

    Returns:
        A line a probe: probe, auroc, auprc, brier, ece, accuracy, each but ece with `_low` and `_high` (a bootstrap of
        ECE lies above it: no interval), and C (median of those chosen); and a column of draws a probe [draws]. The same
        samples are drawn for all probes, so differences of draws are paired.
    """
    import pandas as pd

    weights = metrics.bootstrap_weights(group, draws, seed)
    lines, areas = [], {}
    for name, one in found.items():
        line: dict[str, float | str] = {"probe": name}
        for metric, function, values in (
            ("auroc", metrics.auroc, one.scores),
            ("auprc", metrics.average_precision, one.scores),
            ("brier", metrics.brier, one.chances),
            ("accuracy", metrics.accuracy, one.chances),
        ):
            drawn = function(values, wrong, weights)
            line[metric] = float(function(values, wrong)[0])
            line[f"{metric}_low"], line[f"{metric}_high"] = interval(drawn)
            if metric == "auroc":
                areas[name] = drawn
        line["ece"] = metrics.calibration_error(one.chances, wrong)
        line["C"] = float(np.nanmedian(one.Cs)) if np.isfinite(one.Cs).any() else float("nan")
        lines.append(line)
    return pd.DataFrame(lines), pd.DataFrame(areas)


def differences(table: pd.DataFrame, draws: pd.DataFrame, probe: str) -> pd.DataFrame:
    """AUROC of `probe` less that of every other: probe, against, difference, low, high (95 %, paired bootstrap)."""
    import pandas as pd

    area = table.set_index("probe")["auroc"]
    lines = []
    for other in draws.columns:
        if other != probe:
            low, high = interval((draws[probe] - draws[other]).to_numpy())
            difference = float(area[probe] - area[other])
            lines.append({"probe": probe, "against": other, "difference": difference, "low": low, "high": high})
    return pd.DataFrame(lines)


def calibration_table(found: Mapping[str, Predictions], wrong: np.ndarray) -> pd.DataFrame:
    """`metrics.calibration` of every probe, over the predictions of all repeats."""
    import pandas as pd

    return pd.DataFrame(
        [{"probe": name, **line} for name, one in found.items() for line in metrics.calibration(one.chances, wrong)]
    )
