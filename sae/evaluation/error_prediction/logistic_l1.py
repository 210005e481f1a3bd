"""Logistic regression with an L1 penalty on sparse features, fitted along a path of C with warm starts.

Minimises  Σ_j |w_j| + C Σ_i s_i log(1 + exp(-y_i (x_i·w + b)))  with a free intercept b: the objective of liblinear's
and scikit-learn's L1 logistic regression, but for liblinear's penalty on the intercept. Each step replaces the loss by
its second-order model and descends over coordinates (newGLMNET: Yuan, Ho and Lin 2012), then halves the step until the
objective falls. Rows of weight 0 take no part: folds share one matrix.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TOLERANCE = 5e-3
MOST_STEPS = 60
MOST_PASSES = 100


@njit(cache=True)
def _log_loss(eta: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    total = 0.0
    for i in range(len(eta)):
        if weight[i] > 0.0:
            margin = eta[i] if y[i] > 0 else -eta[i]
            if margin > 0:
                total += weight[i] * np.log1p(np.exp(-margin))
            else:
                total += weight[i] * (np.log1p(np.exp(margin)) - margin)
    return total


@njit(cache=True, fastmath={"reassoc", "contract"})
def _fit(indptr, rows, values, y, weight, C, w, tolerance, most_steps, most_passes):
    """Fit in place from `w` [d + 1] (the intercept last). Returns eta [n] over all rows."""
    n, d = len(y), len(w) - 1
    eta = np.full(n, w[d])
    for j in range(d):
        if w[j] != 0.0:
            for e in range(indptr[j], indptr[j + 1]):
                eta[rows[e]] += values[e] * w[j]
    gradient, curvature = np.empty(n), np.empty(n)
    slope = np.empty(d)
    curved = np.empty(len(values))
    direction, change = np.zeros(d + 1), np.zeros(n)
    active = np.empty(d, np.int64)
    diagonal = np.empty(d)
    trial = np.empty(n)
    objective = C * _log_loss(eta, y, weight)
    for j in range(d):
        objective += abs(w[j])
    for _ in range(most_steps):
        sum_gradient, sum_curvature = 0.0, 0.0
        for i in range(n):
            if weight[i] > 0.0:
                p = 1.0 / (1.0 + np.exp(-eta[i]))
                gradient[i] = C * weight[i] * (p - y[i])
                curvature[i] = C * weight[i] * max(p * (1.0 - p), 1e-7)
            else:
                gradient[i] = 0.0
                curvature[i] = 0.0
            sum_gradient += gradient[i]
            sum_curvature += curvature[i]
        # violation of the optimality conditions, in units of the penalty's slope of 1
        worst = abs(sum_gradient)
        n_active = 0
        for j in range(d):
            total = 0.0
            for e in range(indptr[j], indptr[j + 1]):
                total += values[e] * gradient[rows[e]]
            slope[j] = total
            if w[j] > 0:
                off = abs(total + 1.0)
            elif w[j] < 0:
                off = abs(total - 1.0)
            else:
                off = max(abs(total) - 1.0, 0.0)
            worst = max(worst, off)
            if w[j] != 0.0 or off > 0.0:
                active[n_active] = j
                n_active += 1
        if worst <= tolerance:
            break
        for a in range(n_active):
            j = active[a]
            total = 0.0
            for e in range(indptr[j], indptr[j + 1]):
                curved[e] = values[e] * curvature[rows[e]]
                total += values[e] * curved[e]
            diagonal[a] = total + 1e-9
        direction[:] = 0.0
        change[:] = 0.0
        inner, everything = 0.1 * worst, True
        for _pass in range(most_passes):
            largest = 0.0
            total = sum_gradient
            for i in range(n):
                total += curvature[i] * change[i]
            step = -total / (sum_curvature + 1e-9)
            largest = max(largest, abs(total))
            direction[d] += step
            for i in range(n):
                change[i] += step
            for a in range(n_active):
                j = active[a]
                now = w[j] + direction[j]
                if now == 0.0 and not everything:
                    continue
                total = slope[j]
                for e in range(indptr[j], indptr[j + 1]):
                    total += curved[e] * change[rows[e]]
                aim = now - total / diagonal[a]
                cut = 1.0 / diagonal[a]
                if aim > cut:
                    aim -= cut
                elif aim < -cut:
                    aim += cut
                else:
                    aim = 0.0
                step = aim - now
                if step != 0.0:
                    largest = max(largest, abs(step) * diagonal[a])
                    direction[j] += step
                    for e in range(indptr[j], indptr[j + 1]):
                        change[rows[e]] += values[e] * step
            if largest <= inner:
                if everything:
                    break
                everything = True  # what is at zero may have to leave it
            else:
                everything = False
        scale = 1.0
        improved = False
        for _half in range(20):
            for i in range(n):
                trial[i] = eta[i] + scale * change[i]
            value = C * _log_loss(trial, y, weight)
            for j in range(d):
                value += abs(w[j] + scale * direction[j])
            if value < objective:
                improved = True
                break
            scale *= 0.5
        if not improved:
            break
        gain = objective - value
        objective = value
        for j in range(d + 1):
            w[j] += scale * direction[j]
        for i in range(n):
            eta[i] = trial[i]
        if gain <= 1e-13 * abs(objective):
            break
    return eta


def fit(
    indptr: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    wrong: np.ndarray,
    weight: np.ndarray,
    C: float,
    start: np.ndarray,
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    """One fit.

    Args:
        indptr, rows, values: the features [n, d] as CSC (int64, int32, float64).
        wrong: bool [n]. weight: float64 [n], 0 for rows that are not trained on.
        start: [d + 1], weights and intercept to start from; left as it is.
        tolerance: the largest violation of an optimality condition, relative to the penalty's slope of 1.

    Returns:
        (weights and intercept [d + 1], the linear predictor [n] of every row).
    """
    w = start.copy()
    eta = _fit(indptr, rows, values, wrong.astype(np.float64), weight, float(C), w, tolerance, MOST_STEPS, MOST_PASSES)
    return w, eta
