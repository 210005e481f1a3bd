"""Switching features off, computed by hand on a tiny linear case."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from sae.evaluation.probing.erasure import ablated, effects, ranked
from sae.evaluation.probing.pairs import make_pair, smallest_cell

CODES = csr_matrix(np.array([[2.0, 0, 1, 0], [2, 1, 0, 0], [0, 1, 3, 0], [0, 0, 3, 0]]))
Y = np.array([True, True, False, False])
ALONG = np.array([1.0, -2.0, 0.5, 7.0])


def test_effects_by_hand() -> None:
    # Means where y: 2, .5, .5, 0; elsewhere 0, .5, 3, 0; differences 2, 0, -2.5, 0.
    np.testing.assert_allclose(effects(CODES, Y, ALONG, both_signs=False), [2, 0, 0, 0])
    np.testing.assert_allclose(effects(CODES, Y, ALONG, both_signs=True), [2, 0, 1.25, 0])
    assert ranked(effects(CODES, Y, ALONG, both_signs=True), 5).tolist() == [0, 2]
    assert ranked(effects(CODES, Y, ALONG, both_signs=True), 1).tolist() == [0]


def test_what_is_left_of_a_probe_by_hand() -> None:
    eta = np.array([1.0, 1.0, -1.0, -1.0])
    after = ablated(eta, CODES, ALONG, np.array([0, 2]), (1, 2, 50))
    np.testing.assert_allclose(after[0], [-1, -1, -1, -1])
    np.testing.assert_allclose(after[1], [-1.5, -1, -2.5, -2.5])
    np.testing.assert_allclose(after[2], after[1])
    np.testing.assert_allclose(ablated(eta, CODES, ALONG, np.array([], int), (2,)), [eta])


def test_it_is_the_probe_of_the_ablated_activations() -> None:
    generator = np.random.default_rng(0)
    codes, W, error = generator.random((20, 6)), generator.standard_normal((6, 3)), generator.standard_normal((20, 3))
    w, b = generator.standard_normal(3), 0.3
    off = codes.copy()
    off[:, [4, 1]] = 0
    expected = (off @ W + error) @ w + b
    got = ablated((codes @ W + error) @ w + b, csr_matrix(codes), W @ w, np.array([4, 1, 2]), (2,))
    np.testing.assert_allclose(got[0], expected)


def test_pairs_come_together_and_apart() -> None:
    generator = np.random.default_rng(1)
    n = 2000
    a, b = generator.random(n) < 0.5, generator.random(n) < 0.3
    group, train = np.arange(n) // 2, (np.arange(n) // 2) % 4 != 0
    known = generator.random(n) < 0.9
    pair = make_pair(("A", "B"), a, b, known, train, ~train, group, most_train=200, most_test=101)
    both, neither = (a & b)[pair.biased.train], (~a & ~b)[pair.biased.train]
    assert (both | neither).all() and both.sum() == neither.sum() == 100
    assert (pair.biased.y == both).all() and train[pair.biased.train].all()
    for task, truth in ((pair.a, a), (pair.b, b)):
        assert (task.y == truth[task.train]).all() and (task.y_test == truth[task.test]).all()
        cells = 2 * a[task.train] + b[task.train]
        assert np.bincount(cells).tolist() == [50] * 4
        assert np.bincount(2 * a[task.test] + b[task.test]).tolist() == [25] * 4
        assert known[task.train].all() and not train[task.test].any()
    assert smallest_cell(a, b, train) == min(
        (train & (a == x) & (b == y)).sum() for x in (True, False) for y in (True, False)
    )
