"""SAEBench's linear probe for many features, as it is in 0.6.0, with its fault: it stops where the test set says.

AdamW (decay 0.01) on the mean log loss, plus `l1` times the sum of |w|; a batch is a run of a new random order in each
epoch. Kept is the probe of the epoch with the best accuracy on the test set, so its accuracy is too high: it is here to
be compared with published figures. SAEBench probes all features with rate 0.01, 100 epochs, batches of 250, patience
10; SCR and TPP take rate 0.001, 20 epochs, batches of 16, l1 0.001, patience 20. Its first weights are drawn from
U(-1/sqrt(d), 1/sqrt(d)), as torch's linear layers are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sae.evaluation.probing.logistic import predict

DECAY = 0.01
BETAS = (0.9, 0.999)
EPSILON = 1e-8


def saebench_probe(
    train: Any,
    y: np.ndarray,
    test: Any,
    y_test: np.ndarray,
    *,
    rate: float = 1e-2,
    epochs: int = 100,
    batch: int = 250,
    l1: float = 0.0,
    patience: int = 10,
    seed: int = 42,
    start: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Weights and intercept [d + 1] of the best epoch, and its accuracy on the test set.

    Args:
        train, test: [n, d], arrays or CSR matrices. y, y_test: bool [n].
        start: [d + 1], first weights; drawn with the seed if None.
    """
    generator = np.random.default_rng(seed)
    d = train.shape[1]
    w = generator.uniform(-1, 1, d + 1) / np.sqrt(d) if start is None else start.astype(np.float64)
    mean, square = np.zeros(d + 1), np.zeros(d + 1)
    best, highest, since, step = w.copy(), 0.0, 0, 0
    truth = y.astype(np.float64)
    for _ in range(epochs):
        order = generator.permutation(len(y))
        x, labels = train[order], truth[order]
        for first in range(0, len(y), batch):
            rows, target = x[first : first + batch], labels[first : first + batch]
            step += 1
            w = _stepped(rows, target, w, mean, square, step, rate, l1)
        accuracy = float(((predict(test, w) > 0) == y_test).mean())
        if accuracy > highest:
            best, highest, since = w.copy(), accuracy, 0
        else:
            since += 1
            if since >= patience:
                break
    return best, highest


def _stepped(
    rows: Any,
    target: np.ndarray,
    w: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    step: int,
    rate: float,
    l1: float,
) -> np.ndarray:
    """The weights after a step of AdamW; `mean` and `square`, the moments, are changed in place."""
    eta = np.clip(np.asarray(rows @ w[:-1]).reshape(-1) + w[-1], -500, 500)
    residual = (1 / (1 + np.exp(-eta)) - target) / len(target)
    gradient = np.append(np.asarray(rows.T @ residual).reshape(-1), residual.sum())
    if l1:
        gradient[:-1] += l1 * np.sign(w[:-1])
    mean += (1 - BETAS[0]) * (gradient - mean)
    square += (1 - BETAS[1]) * (gradient * gradient - square)
    size = np.sqrt(square / (1 - BETAS[1] ** step)) + EPSILON
    return w * (1 - rate * DECAY) - rate * (mean / (1 - BETAS[0] ** step)) / size
