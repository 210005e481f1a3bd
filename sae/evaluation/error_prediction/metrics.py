"""What a prediction is worth, from predictions of problems that were held out.

Scores of R repeats stand in [R, n]; a metric is the mean over repeats. Weights [b, n] count how often each problem was
drawn in b bootstrap samples; weights of 1 give the metric itself.
"""

from __future__ import annotations

import numpy as np

from sae.evaluation.bootstrap import drawn_weights

BINS = 10


def auroc(scores: np.ndarray, wrong: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve, [b]: the share of (wrong, right) pairs in which the wrong one scores higher.

    Ties count half (Mann and Whitney 1947). Pairs are averaged over repeats first, so that many bootstrap samples
    are one matrix product. NaN for a sample without wrong or without right.
    """
    scores = np.atleast_2d(scores)
    one, other = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    share = np.zeros((len(one), len(other)), np.float32)
    for line in scores:
        share += line[one][:, None] > line[other]
        share += np.float32(0.5) * (line[one][:, None] == line[other])
    share /= len(scores)
    drawn = np.ones((1, len(wrong)), np.float32) if weights is None else weights.astype(np.float32)
    left, right = drawn[:, one], drawn[:, other]
    pairs = left.sum(1, dtype=float) * right.sum(1, dtype=float)
    with np.errstate(invalid="ignore"):
        return ((left @ share) * right).sum(1, dtype=float) / np.where(pairs > 0, pairs, np.nan)


def average_precision(scores: np.ndarray, wrong: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the precision-recall curve of the errors, [b]: Σ (R_k - R_{k-1}) P_k over distinct scores.

    As scikit-learn's `average_precision_score`. Its baseline is the share of wrong answers.
    """
    scores = np.atleast_2d(scores)
    drawn = np.ones((1, len(wrong))) if weights is None else weights
    total = np.zeros(len(drawn))
    for line in scores:
        order = np.argsort(-line, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(line[order]) != 0, True))
        sorted_weights = drawn[:, order]
        found = np.cumsum(sorted_weights * wrong[order], axis=1)[:, ends]
        seen = np.cumsum(sorted_weights, axis=1)[:, ends]
        gained = np.diff(found, axis=1, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(seen > 0, found / seen, 0)
            total += (gained * precision).sum(1) / found[:, -1]
    return total / len(scores)


def brier(chances: np.ndarray, wrong: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared difference of the chance of an error and what happened, [b]."""
    return _mean((np.atleast_2d(chances) - wrong) ** 2, weights)


def accuracy(chances: np.ndarray, wrong: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of problems for which the more likely outcome came true, [b]; a chance of exactly a half counts half."""
    chances = np.atleast_2d(chances)
    hit = np.where(chances == 0.5, 0.5, (chances > 0.5) == wrong)
    return _mean(hit, weights)


def calibration(chances: np.ndarray, wrong: np.ndarray, bins: int = BINS) -> list[dict[str, float]]:
    """Predictions of all repeats in equal bins of the chance: low, high, n (predictions), chance (mean), wrong (share).

    Empty bins are left out.
    """
    chances = np.atleast_2d(chances)
    flat, happened = chances.ravel(), np.tile(wrong, len(chances))
    place = np.minimum((flat * bins).astype(int), bins - 1)
    lines = []
    for one in np.unique(place):
        inside = place == one
        lines.append(
            {
                "low": one / bins,
                "high": (one + 1) / bins,
                "n": float(inside.sum()),
                "chance": float(flat[inside].mean()),
                "wrong": float(happened[inside].mean()),
            }
        )
    return lines


def calibration_error(chances: np.ndarray, wrong: np.ndarray, bins: int = BINS) -> float:
    """ECE: Σ over bins of (share of predictions) |mean chance - share wrong|, mean over repeats."""
    errors = []
    for line in np.atleast_2d(chances):
        cells = calibration(line, wrong, bins)
        errors.append(sum(cell["n"] * abs(cell["chance"] - cell["wrong"]) for cell in cells) / len(wrong))
    return float(np.mean(errors))


def bootstrap_weights(group: np.ndarray, n: int, seed: int) -> np.ndarray:
    """float32 [n, problems]: how often each problem is drawn when whole groups are drawn with replacement."""
    drawn = drawn_weights(int(group.max()) + 1, n, seed)
    return np.concatenate([weights.astype(np.float32)[:, group] for weights in drawn])


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    each = values.mean(0)
    if weights is None:
        return np.array([each.mean()])
    return weights @ each / weights.sum(1)
