"""Logistic regression against scikit-learn's, and the choice of C."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from sae.evaluation.probing.logistic import chosen_fit, deviations, fit, predict


def data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, d)) * (generator.random((n, d)) < 0.4)
    return x, x @ generator.standard_normal(d) + generator.standard_normal(n) > 0.3


@pytest.mark.parametrize("d", [1, 20, 90])
@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_same_as_scikit_learn(d: int, C: float, sparse: bool) -> None:
    x, y = data(200, d)
    theirs = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(x, y)
    ours = fit(csr_matrix(x) if sparse else x, y, C)
    np.testing.assert_allclose(ours[:-1], theirs.coef_[0], atol=2e-3)
    np.testing.assert_allclose(ours[-1], theirs.intercept_[0], atol=2e-3)


def test_classes_that_are_apart_end() -> None:
    x = np.array([[0.0], [0.0], [5.0], [5.0]] * 20)
    y = x[:, 0] > 1
    w, _ = chosen_fit(x, y, [np.arange(80) % 4 == fold for fold in range(4)])
    assert ((predict(x, w) > 0) == y).all() and np.isfinite(w).all()


@pytest.mark.parametrize("d", [5, 80])
def test_c_is_the_one_of_the_lowest_held_out_loss(d: int) -> None:
    x, y = data(150, d, seed=3)
    x = csr_matrix(x)
    z = x.toarray() / x.toarray().std(axis=0)
    folds = [np.arange(150) % 3 == number for number in range(3)]
    Cs = (1e-3, 1e-1, 10.0)
    losses = []
    for C in Cs:
        parts = []
        for held in folds:
            model = LogisticRegression(C=C, tol=1e-7, max_iter=5000).fit(z[~held], y[~held])
            p = model.predict_proba(z[held])[np.arange(held.sum()), y[held].astype(int)]
            parts.append(-np.log(p).mean())
        losses.append(np.mean(parts))
    w, C = chosen_fit(x, y, folds, Cs)
    assert Cs[int(np.argmin(losses))] == C
    theirs = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(z, y)
    np.testing.assert_allclose(predict(x, w), theirs.decision_function(z), atol=5e-3 * max(1, C))


def test_a_feature_that_does_not_vary_is_left_alone() -> None:
    x = np.array([[1.0, 0.0, 2.0], [1.0, 0.0, 4.0]])
    np.testing.assert_allclose(deviations(x), [1, 1, 1])
    np.testing.assert_allclose(deviations(csr_matrix(x)), [1, 1, 1])
