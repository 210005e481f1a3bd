"""Probes and how their C is chosen: logistic regressions with class weights, on features scaled by training rows alone.

Every probe is a `Features`: `on(train, wrong)` scales it for one set of training rows; what that returns is fitted for
any rows within (`Fit`). C is chosen by folds inside of the training rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

    from sae.evaluation.error_prediction.logistic_l2 import Axes

CS = np.logspace(-4, 1, 10)
PATIENCE = 2


class Fit(Protocol):
    """A probe on scaled features. `weights` [n, m] are 0 for rows that a fit is not trained on."""

    def path(self, weights: np.ndarray, Cs: np.ndarray) -> Iterator[np.ndarray]:
        """For each C in turn, rising: the linear predictors [n, m] of every row."""
        ...


class Features(Protocol):
    """What a probe reads."""

    def on(self, train: np.ndarray, wrong: np.ndarray) -> Fit: ...


def balanced(wrong: np.ndarray, train: np.ndarray) -> np.ndarray:
    """[n]: class weights n / (2 n_class) on training rows, 0 elsewhere; 0 everywhere where a class is missing."""
    n_wrong, n_right = int((wrong & train).sum()), int((~wrong & train).sum())
    if not n_wrong or not n_right:
        return np.zeros(len(wrong))
    n = n_wrong + n_right
    return np.where(wrong, n / (2 * n_wrong), n / (2 * n_right)) * train


class SparseL1:
    """L1 on sparse features, each divided by its largest size on the training rows; not centred."""

    def __init__(self, features: csc_matrix) -> None:
        self.indptr = features.indptr.astype(np.int64)
        self.rows = features.indices.astype(np.int32)
        self.values = features.data.astype(np.float64)

    def on(self, train: np.ndarray, wrong: np.ndarray) -> _SparseFit:
        largest = np.zeros(len(self.indptr) - 1)
        owner = np.repeat(np.arange(len(largest)), np.diff(self.indptr))
        inside = train[self.rows]
        np.maximum.at(largest, owner[inside], np.abs(self.values[inside]))
        return _SparseFit(self, self.values / np.where(largest > 0, largest, 1)[owner], wrong)


class _SparseFit:
    def __init__(self, features: SparseL1, values: np.ndarray, wrong: np.ndarray) -> None:
        self.features, self.values, self.wrong = features, values, wrong

    def path(self, weights: np.ndarray, Cs: np.ndarray) -> Iterator[np.ndarray]:
        from sae.evaluation.error_prediction.logistic_l1 import fit

        given = self.features
        starts = [np.zeros(len(given.indptr)) for _ in weights.T]
        for C in Cs:
            found = np.empty(weights.shape)
            for place, weight in enumerate(weights.T):
                starts[place], found[:, place] = fit(
                    given.indptr, given.rows, self.values, self.wrong, weight, C, starts[place]
                )
            yield found


class DenseL2:
    """L2 on dense features [n, d], scaled by training rows: to unit variance, or (`max_abs`) to a largest size of 1."""

    AT_ONCE = 4, 2, 2, 2  # how many values of C are fitted together; the large ones are slow and seldom needed

    def __init__(self, features: np.ndarray, max_abs: bool = False) -> None:
        self.features, self.max_abs = np.asarray(features), max_abs

    def on(self, train: np.ndarray, wrong: np.ndarray) -> _DenseFit:
        from sae.evaluation.error_prediction.logistic_l2 import Axes

        return _DenseFit(Axes(_scaled(self.features, train, self.max_abs), train), wrong)


class _DenseFit:
    def __init__(self, axes: Axes, wrong: np.ndarray) -> None:
        self.axes, self.wrong = axes, wrong

    def path(self, weights: np.ndarray, Cs: np.ndarray) -> Iterator[np.ndarray]:
        from sae.evaluation.error_prediction.logistic_l2 import fit

        m, reached, start = weights.shape[1], 0, None
        for many in (*DenseL2.AT_ONCE, *[2] * len(Cs)):
            together = Cs[reached : reached + many]
            if not len(together):
                return
            begin = None if start is None else np.tile(start, (1, len(together)))
            solution, eta = fit(
                self.axes, self.wrong, np.tile(weights, (1, len(together))), np.repeat(together, m), begin
            )
            start = solution[:, -m:]
            for place in range(len(together)):
                yield eta[:, place * m : (place + 1) * m]
            reached += many


class KSparse:
    """L2 on the k features whose means on wrong and right training answers differ most (|mean difference|)."""

    def __init__(self, features: np.ndarray, k: int) -> None:
        self.features, self.k = np.asarray(features), k

    def on(self, train: np.ndarray, wrong: np.ndarray) -> _KSparseFit:
        return _KSparseFit(self, wrong)


class _KSparseFit:
    def __init__(self, features: KSparse, wrong: np.ndarray) -> None:
        self.features, self.wrong = features, wrong

    def path(self, weights: np.ndarray, Cs: np.ndarray) -> Iterator[np.ndarray]:
        found = np.empty((len(Cs), *weights.shape))
        for place, weight in enumerate(weights.T):
            found[:, :, place] = self._one(weight, Cs).T
        yield from found

    def _one(self, weight: np.ndarray, Cs: np.ndarray) -> np.ndarray:
        from sae.evaluation.error_prediction.logistic_l2 import Axes, fit

        train, x = weight > 0, self.features.features
        chosen = largest_differences(x, self.wrong, train, self.features.k)
        axes = Axes(_scaled(x[:, chosen], train, max_abs=True), train)
        return fit(axes, self.wrong, np.repeat(weight[:, None], len(Cs), axis=1), Cs)[1]


def largest_differences(x: np.ndarray, wrong: np.ndarray, train: np.ndarray, k: int) -> np.ndarray:
    """The k features with the largest |mean on wrong - mean on right| over the training rows, int [k]."""
    one, other = wrong & train, ~wrong & train
    selector = one / max(one.sum(), 1) - other / max(other.sum(), 1)
    difference = np.abs(selector.astype(x.dtype) @ x)
    return np.argsort(-difference, kind="stable")[: min(k, len(difference))]


def choose_C(
    fit: Fit, wrong: np.ndarray, train: np.ndarray, inner: np.ndarray, Cs: np.ndarray = CS, patience: int = PATIENCE
) -> int:
    """The place of the C whose mean log loss on the inner folds is lowest, wrong and right weighing the same.

    The loss rather than AUROC: a probe of one feature has the same AUROC at every C, and scores of different folds must
    be on one scale to be pooled. C rises, and the search ends when `patience` values in a row were worse than the best;
    the loss has one valley as a rule, so this seldom changes the choice and leaves out the slow fits.

    Args:
        train: bool [n]. inner: int [n], the inner fold of each training row; -1 for rows that are only trained on.
    """
    held = [train & (inner == number) for number in range(int(inner.max()) + 1)]
    held = [out for out in held if wrong[out].any() and not wrong[out].all()]
    weights = np.stack([balanced(wrong, train & ~out) for out in held], axis=1)
    best, lowest, since = 0, np.inf, 0
    for place, eta in enumerate(fit.path(weights, Cs)):
        loss = float(np.mean([log_loss(eta[out, number], wrong[out]) for number, out in enumerate(held)]))
        if loss < lowest - 1e-12:
            best, lowest, since = place, loss, 0
        elif loss > lowest + 1e-12:
            since += 1
            if since >= patience:
                break
    return best


def log_loss(eta: np.ndarray, wrong: np.ndarray) -> float:
    """Mean of the mean log losses of wrong and of right problems."""
    loss = np.logaddexp(0, np.where(wrong, -eta, eta))
    return float((loss[wrong].mean() + loss[~wrong].mean()) / 2)


def predict(fit: Fit, wrong: np.ndarray, train: np.ndarray, C: float) -> np.ndarray:
    """Linear predictors [n] of every row after training on the rows of `train`."""
    (eta,) = fit.path(balanced(wrong, train)[:, None], np.array([C]))
    return eta[:, 0]


def chances(eta: np.ndarray, wrong: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The chance of an error, [n]: balanced classes are taken back to the training rows' share of errors.

    Class weights of n / (2 n_class) stand for a training set half wrong, half right; adding log(n_wrong / n_right) to
    the linear predictor undoes that (prior correction: King and Zeng 2001).
    """
    from scipy.special import expit

    n_wrong, n_right = (wrong & train).sum(), (~wrong & train).sum()
    return expit(eta + np.log(n_wrong / n_right))


def _scaled(x: np.ndarray, train: np.ndarray, max_abs: bool) -> np.ndarray:
    inside = x[train]
    size = np.abs(inside).max(0) if max_abs else inside.std(0, dtype=np.float64)
    return x / np.where(size > 0, size, 1).astype(x.dtype)
