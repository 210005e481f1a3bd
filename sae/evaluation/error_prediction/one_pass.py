"""One grouped pass of 5 folds: what every slice but the one named beforehand gets, and what the null is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from sae.evaluation.bootstrap import interval
from sae.evaluation.error_prediction import metrics
from sae.evaluation.error_prediction.folds import grouped_folds, permuted_by_group, splits
from sae.evaluation.error_prediction.nested import inner_folds
from sae.evaluation.error_prediction.probes import CS, Features, choose_C, predict

FOLDS = 5
SEED = 1


class Pass(NamedTuple):
    """AUROC of each probe by name, its bootstrap draws (the same samples for all), and each probe's C by fold."""

    auroc: dict[str, float]
    draws: dict[str, np.ndarray]
    Cs: dict[str, list[float]]


def one_pass(
    features: Mapping[str, Features], wrong: np.ndarray, group: np.ndarray, *, draws: int = 2000, seed: int = SEED
) -> Pass:
    """Predictions of 5 grouped folds, all probes in the same. Each fold takes its C from one split of its training
    rows, a fifth of their groups held out. The folds depend on labels and groups alone: all slices have the same."""
    generator = np.random.default_rng(seed)
    scores = {name: np.full(len(wrong), np.nan) for name in features}
    Cs: dict[str, list[float]] = {name: [] for name in features}
    for train, held in splits(grouped_folds(wrong, group, FOLDS, generator)):
        inner = inner_folds(wrong, group, train, FOLDS, generator)
        single = np.where(inner == 0, 0, -1)
        for name, one in features.items():
            fit = one.on(train, wrong)
            C = float(CS[choose_C(fit, wrong, train, single)])
            Cs[name].append(C)
            scores[name][held] = predict(fit, wrong, train, C)[held]
    weights = metrics.bootstrap_weights(group, draws, seed)
    return Pass(
        {name: float(metrics.auroc(line, wrong)[0]) for name, line in scores.items()},
        {name: metrics.auroc(line, wrong, weights) for name, line in scores.items()},
        Cs,
    )


class Null(NamedTuple):
    """AUROC at a fixed C on the true labels, and on `permuted` labels [n]; `p` is one-sided, (1 + hits) / (1 + n)."""

    C: float
    observed: float
    permuted: np.ndarray
    p: float


def label_permutations(
    features: Features,
    wrong: np.ndarray,
    group: np.ndarray,
    C: float,
    *,
    n: int = 200,
    seed: int = SEED,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Null:
    """What AUROC chance reaches: the same pass, folds and all, with the labels of groups exchanged."""
    generator = np.random.default_rng(seed)
    observed = _fixed(features, wrong, group, C, generator)
    permuted = np.empty(n)
    for number in range(n):
        permuted[number] = _fixed(features, permuted_by_group(wrong, group, generator), group, C, generator)
        watch(number + 1, n)
    return Null(C, observed, permuted, float((1 + (permuted >= observed).sum()) / (1 + n)))


def _fixed(features: Features, wrong: np.ndarray, group: np.ndarray, C: float, generator: np.random.Generator) -> float:
    scores = np.zeros(len(wrong))
    for train, held in splits(grouped_folds(wrong, group, FOLDS, generator)):
        scores[held] = predict(features.on(train, wrong), wrong, train, C)[held]
    return float(metrics.auroc(scores, wrong)[0])


class Detection(NamedTuple):
    """`step` is None where no step passes; `level` is each interval's, by Bonferroni.

    `areas` and `differences` are intervals by step: of the features' AUROC, and of that less the question's.
    """

    step: int | None
    level: float
    areas: dict[int, tuple[float, float]]
    differences: dict[int, tuple[float, float]]


def early_detection(
    features: Mapping[int, np.ndarray], question: Mapping[int, np.ndarray], level: float = 0.95
) -> Detection:
    """The smallest step at which features tell more than the question alone, and more than chance.

    Both intervals must lie above: that of the paired difference above 0, and that of the features' AUROC above ½, since
    a baseline that knows nothing may fall below ½ by chance.

    Args:
        features, question: by step, bootstrap draws of AUROC over the same samples. With m steps each interval is taken
            at 1 - (1 - level) / m, so that all hold together.
    """
    each = 1 - (1 - level) / max(len(features), 1)
    areas = {step: interval(features[step], each) for step in sorted(features)}
    differences = {step: interval(features[step] - question[step], each) for step in sorted(features)}
    above = [step for step, (low, _) in differences.items() if low > 0 and areas[step][0] > 0.5]
    return Detection(above[0] if above else None, each, areas, differences)
