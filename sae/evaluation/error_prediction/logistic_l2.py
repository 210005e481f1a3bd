"""Logistic regression with an L2 penalty, many fits over the same rows at once.

Minimises  ½ ‖w‖² + C Σ_i s_i log(1 + exp(-y_i (x_i·w + b)))  with a free intercept b: scikit-learn's objective. The
features are turned into the principal axes of the training rows, which leaves the problem as it is and makes the bound
¼ max(s) XᵀX of the loss's curvature (Böhning and Lindsay 1988) diagonal; accelerated gradient steps scaled by that
bound, started over when they stop descending, then need neither a step size nor a matrix to be solved.
"""

from __future__ import annotations

import numpy as np

TOLERANCE = 2e-5
MOST_STEPS = 1000


class Axes:
    """Rows in the principal axes of the training rows.

    Args:
        x: features [n, d], any float type, dense.
        train: bool [n]; the mean and the axes are those rows'.

    Attributes:
        z: [n, r], r at most the number of training rows; axes without variance are left out.
        squares: [r], the sum of squares of each axis over the training rows.
    """

    def __init__(self, x: np.ndarray, train: np.ndarray) -> None:
        self.train = train
        inside = np.asarray(x[train], np.float64)
        mean = inside.mean(0)
        inside -= mean
        if inside.shape[1] <= inside.shape[0]:
            values, vectors = np.linalg.eigh(inside.T @ inside)
        else:
            values, left = np.linalg.eigh(inside @ inside.T)
        kept = values > 1e-10 * max(float(values[-1]), 1e-300)
        self.squares = values[kept]
        if inside.shape[1] > inside.shape[0]:
            vectors = inside.T @ (left[:, kept] / np.sqrt(self.squares))
        else:
            vectors = vectors[:, kept]
        self.z = (np.asarray(x, np.float64) - mean) @ vectors


def fit(
    axes: Axes,
    wrong: np.ndarray,
    weight: np.ndarray,
    C: np.ndarray,
    start: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
    most_steps: int = MOST_STEPS,
) -> tuple[np.ndarray, np.ndarray]:
    """m fits at once.

    Args:
        wrong: bool [n]. weight: [n, m], 0 for rows that a fit is not trained on (and outside of the axes' rows).
        C: [m].
        start: [r + 1, m], weights and intercept to start from; zero if None.
        tolerance: of the gradient in the bound's metric, relative to the size of the solution.

    Returns:
        (weights and intercepts [r + 1, m], linear predictors [n, m] of every row).
    """
    from scipy.special import expit

    train, squares = axes.train, axes.squares
    z, s = np.ascontiguousarray(axes.z[train]), weight[train]
    y = wrong[train].astype(np.float64)[:, None]
    r, m = z.shape[1], weight.shape[1]
    bound = np.empty((r + 1, m))
    bound[:r] = 1 + 0.25 * squares[:, None] * (C * s.max(0))
    bound[r] = np.maximum(0.25 * len(z) * C * s.max(0), 1e-12)
    solution = np.zeros((r + 1, m)) if start is None else start.copy()
    left = np.arange(m)  # the fits that go on
    w, v, momentum = solution.copy(), solution.copy(), np.ones(m)
    s_left, c_left, bound_left = s, C, bound
    for _ in range(most_steps):
        residual = s_left * (expit(z @ v[:r] + v[r]) - y) * c_left
        gradient = np.empty_like(v)
        gradient[:r] = z.T @ residual + v[:r]
        gradient[r] = residual.sum(0)
        new = v - gradient / bound_left
        moved = new - w
        uphill = (gradient * moved).sum(0) > 0
        following = np.where(uphill, 1.0, (1 + np.sqrt(1 + 4 * momentum**2)) / 2)
        v = new + np.where(uphill, 0.0, (momentum - 1) / following) * moved
        w, momentum = new, following
        size = np.sqrt((bound_left * new * new).sum(0))
        off = np.sqrt((gradient * gradient / bound_left).sum(0))
        going = off > tolerance * np.maximum(size, 1)
        if not going.all():
            solution[:, left[~going]] = w[:, ~going]
            left = left[going]
            if not len(left):
                break
            w, v, momentum = w[:, going], v[:, going], momentum[going]
            s_left, c_left, bound_left = s_left[:, going], c_left[going], bound_left[:, going]
    if len(left):
        solution[:, left] = w
    return solution, axes.z @ solution[:r] + solution[r]
