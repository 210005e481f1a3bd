"""L2 logistic regression on few dense or many sparse features, its C chosen among the rows it is trained on.

Minimises  ½ ‖w‖² + C Σ_i s_i log(1 + exp(-y_i (x_i·w + b)))  with a free intercept b: scikit-learn's objective. Up to
64 features by Newton steps, more by L-BFGS, along rising C with warm starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

Matrix: TypeAlias = Any
"""[n, d]: an array, or a CSR matrix of scipy's."""
CS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_NEWTON_FEATURES = 64
_MOST_STEPS = 50
_LBFGS_STEPS = 200


def fit(x: Matrix, y: np.ndarray, C: float, start: np.ndarray | None = None) -> np.ndarray:
    """Weights and intercept [d + 1].

    Args:
        x: [n, d], dense or CSR. y: bool [n]. C: inverse strength of the penalty.
        start: [d + 1]; zeros if None.
    """
    w = np.zeros(x.shape[1] + 1) if start is None else start
    return (_newton if x.shape[1] <= _NEWTON_FEATURES else _lbfgs)(x, y.astype(np.float64), C, w)


def predict(x: Matrix, w: np.ndarray) -> np.ndarray:
    """Linear predictors [n]."""
    return np.asarray(x @ w[:-1]).reshape(-1) + w[-1]


def chosen_fit(
    x: Matrix, y: np.ndarray, folds: list[np.ndarray], Cs: tuple[float, ...] = CS
) -> tuple[np.ndarray, float]:
    """Weights and intercept in units of `x`, fitted on all rows with the C whose mean log loss on held-out folds is
    lowest; features are scaled to unit variance for it.

    Args:
        folds: bool [n] each, rows that are held out in turn; none: the middle C.
    """
    scale = deviations(x)
    z = _scaled(x, 1 / scale)
    losses = np.zeros(len(Cs))
    for held in folds:
        if y[held].any() and not y[held].all() and y[~held].any() and not y[~held].all():
            for place, w in enumerate(_path(z[~held], y[~held], Cs)):
                eta = predict(z[held], w)
                losses[place] += np.logaddexp(0, np.where(y[held], -eta, eta)).mean()
    best = int(losses.argmin()) if losses.any() else len(Cs) // 2
    *_, w = _path(z, y, Cs[: best + 1] if x.shape[1] > _NEWTON_FEATURES else Cs[best : best + 1])
    return np.append(w[:-1] / scale, w[-1]), Cs[best]


def deviations(x: Matrix) -> np.ndarray:
    """Standard deviation [d] of each feature; 1 where it does not vary."""
    n = x.shape[0]
    if isinstance(x, np.ndarray):
        spread = x.std(axis=0, dtype=np.float64)
        return np.where(spread > 1e-12 * np.abs(x).max(axis=0, initial=0.0), spread, 1.0)
    mean = np.asarray(x.mean(axis=0), np.float64).reshape(-1)
    squares = np.asarray(x.multiply(x).sum(axis=0), np.float64).reshape(-1) / n
    spread = np.sqrt(np.maximum(squares - mean**2, 0))
    return np.where(spread > 1e-6 * np.sqrt(squares), spread, 1.0)


def _scaled(x: Matrix, factor: np.ndarray) -> Matrix:
    if isinstance(x, np.ndarray):
        return x * factor
    scaled = x.astype(np.float64)
    scaled.data *= factor[scaled.indices]
    return scaled


def _path(x: Matrix, y: np.ndarray, Cs: tuple[float, ...]) -> Iterator[np.ndarray]:
    w = None
    for C in Cs:
        w = fit(x, y, C, w)
        yield w


def _newton(x: Matrix, y: np.ndarray, C: float, w: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    dense = x if isinstance(x, np.ndarray) else x.toarray()
    design = np.concatenate([dense, np.ones((len(dense), 1))], axis=1)
    penalty = np.append(np.ones(len(w) - 1), 0.0)
    sign = np.where(y > 0, -1.0, 1.0)

    def objective(w: np.ndarray) -> float:
        return float(0.5 * (penalty * w * w).sum() + C * np.logaddexp(0, sign * (design @ w)).sum())

    value = objective(w)
    for _ in range(_MOST_STEPS):
        p = expit(design @ w)
        gradient = penalty * w + C * (design.T @ (p - y))
        if np.abs(gradient).max() <= 1e-7 * max(1.0, C * len(y)):
            break
        curved = design * (C * np.maximum(p * (1 - p), 1e-10))[:, None]
        # Far out the curvature of the intercept all but vanishes where classes are apart.
        step = np.linalg.solve(design.T @ curved + np.diag(penalty + 1e-9), gradient)
        scale = 1.0
        while scale > 1e-6 and objective(w - scale * step) > value:
            scale /= 2
        new = objective(w - scale * step)
        if new >= value:
            break
        w, gained, value = w - scale * step, value - new, new
        if gained <= 1e-12 * abs(value):
            break
    return w


def _lbfgs(x: Matrix, y: np.ndarray, C: float, w: np.ndarray) -> np.ndarray:
    from scipy.optimize import minimize
    from scipy.special import expit

    sign = np.where(y > 0, -1.0, 1.0)
    turned = x.T if isinstance(x, np.ndarray) else x.T.tocsr()

    def both(w: np.ndarray) -> tuple[float, np.ndarray]:
        eta = predict(x, w)
        residual = C * (expit(eta) - y)
        gradient = np.append(np.asarray(turned @ residual).reshape(-1) + w[:-1], residual.sum())
        return float(0.5 * w[:-1] @ w[:-1] + C * np.logaddexp(0, sign * eta).sum()), gradient

    options = {"maxiter": _LBFGS_STEPS, "gtol": 1e-5 * max(1.0, C * len(y)), "ftol": 1e-9}
    return minimize(both, w, jac=True, method="L-BFGS-B", options=options).x
