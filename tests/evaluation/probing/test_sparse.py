"""Sparse probing of planted labels, and SAEBench's probe against torch's AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from sae.evaluation.probing.saebench_probe import saebench_probe
from sae.evaluation.probing.sparse import most_different, probe
from sae.evaluation.probing.tasks import Hits, balanced, family_means, intervals, make_task

N = 600


def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features [n, 30], of which feature 7 is the label; groups of two; two of three are for training."""
    generator = np.random.default_rng(2)
    label = np.repeat(generator.random(N // 2) < 0.4, 2)
    x = generator.random((N, 30)) * (generator.random((N, 30)) < 0.3)
    x[:, 7] = label * (1 + generator.random(N))
    group = np.arange(N) // 2
    return x, label, group, group % 3 != 0


def task_of(label: np.ndarray, group: np.ndarray, train: np.ndarray, name: str = "is it", **settings: int):
    return make_task("kind", name, label, np.ones(N, bool), train, ~train, group, **settings)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_feature_that_is_the_label_is_enough(sparse: bool) -> None:
    x, label, group, train = planted()
    task = task_of(label, group, train)
    found = probe(csr_matrix(x) if sparse else x, [task], (1, 5))
    for name in ("top_1", "top_5", "all", "top_1_saebench"):
        assert found.hits[name][0].mean() == 1, name
    assert found.hits["all_saebench"][0].mean() > 0.85  # two batches an epoch are few steps
    for name in ("top_1_shuffled", "top_5_shuffled", "all_shuffled"):
        assert abs(found.hits[name][0].mean() - 0.5) < 0.15, name
    assert found.chosen[0][0] == 7


def test_tasks_are_balanced_and_grouped() -> None:
    _, label, group, train = planted()
    task = task_of(label, group, train, most_train=100, most_test=40)
    assert len(task.y) == 100 and task.y.sum() == 50 and task.y_test.sum() == 20 == len(task.y_test) / 2
    assert train[task.train].all() and not train[task.test].any()
    assert not set(group[task.train]) & set(group[task.test])
    assert (label[task.train] == task.y).all() and (label[task.test] == task.y_test).all()
    for fold in task.folds:
        assert not set(group[task.train][fold]) & set(group[task.train][~fold])
    assert np.sum(task.folds, axis=0).tolist() == [1] * 100
    assert task.shuffled.sum() == 50 and (task.shuffled != task.y).any()
    known = np.zeros(N, bool)
    known[:300] = True
    assert (balanced(label, known, 1000, np.random.default_rng(0)) < 300).all()


def test_k_features_are_those_of_the_largest_mean_difference_in_training() -> None:
    x, label, group, train = planted()
    task = task_of(label, group, train)
    inside = x[task.train]
    difference = np.abs(inside[task.y].mean(axis=0) - inside[~task.y].mean(axis=0))
    expected = np.argsort(-difference)[:4]
    assert most_different(csr_matrix(inside), task.y, 4).tolist() == expected.tolist()
    assert most_different(inside, task.y, 4).tolist() == expected.tolist()
    # SAEBench's way is scikit-learn's default on those.
    found = probe(csr_matrix(x), [task_of(x[:, 3] + x[:, 7] > 0.8, group, train)], (2,))
    task = task_of(x[:, 3] + x[:, 7] > 0.8, group, train)
    chosen = found.chosen[0][:2]
    theirs = LogisticRegression(max_iter=1000).fit(x[task.train][:, chosen], task.y)
    hits = theirs.predict(x[task.test][:, chosen]) == task.y_test
    assert (hits == found.hits["top_2_saebench"][0]).mean() > 0.99


def test_test_units_choose_nothing() -> None:
    x, label, group, train = planted()
    task = task_of(label, group, train)
    before = probe(csr_matrix(x), [task], (1, 5), saebench=False)
    x[~train] = np.random.default_rng(0).random((int((~train).sum()), 30))
    after = probe(csr_matrix(x), [task], (1, 5), saebench=False)
    assert before.chosen[0].tolist() == after.chosen[0].tolist() and before.Cs == after.Cs


def test_means_and_intervals_over_groups() -> None:
    _, label, group, train = planted()
    tasks = [task_of(label, group, train), task_of(~label, group, train, "is not"), task_of(label, group, train)]
    tasks[2] = make_task("other", "x", label, np.ones(N, bool), train, ~train, group, most_test=60)
    hits = Hits(tasks, group)
    generator = np.random.default_rng(0)
    right = [generator.random(len(task.test)) < share for task, share in zip(tasks, (0.6, 0.8, 0.5), strict=True)]
    hits.add("one", right)
    own = [one.mean() for one in right]
    np.testing.assert_allclose(hits.accuracy("one"), own)
    assert family_means(hits.accuracy("one"), tasks) == pytest.approx(((own[0] + own[1]) / 2 + own[2]) / 2)
    drawn = hits.drawn(lambda found: {"first": found["one"][:, 0]}, 2000, 0)["first"]
    # Groups of two whose units are right or wrong by themselves: the spread is that of a share, by and large.
    assert drawn.std() == pytest.approx(np.sqrt(own[0] * (1 - own[0]) / len(right[0])), rel=0.25)
    low, high = intervals({"first": drawn})["first"]
    assert low < own[0] < high


@pytest.mark.parametrize("sparse", [False, True])
def test_saebenchs_probe_is_torchs_adamw(sparse: bool) -> None:
    generator = np.random.default_rng(4)
    x = generator.standard_normal((90, 6)) * (generator.random((90, 6)) < 0.5)
    y = x[:, 0] + 0.5 * generator.standard_normal(90) > 0
    start = generator.standard_normal(7) * 0.1
    made = csr_matrix(x) if sparse else x
    settings: dict[str, Any] = {"rate": 1e-2, "epochs": 4, "batch": 20, "l1": 1e-3, "patience": 10, "seed": 3}
    ours, accuracy = saebench_probe(made[:60], y[:60], made[60:], y[60:], start=start, **settings)
    order = np.random.default_rng(3)
    layer = torch.nn.Linear(6, 1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(start[None, :-1]))
        layer.bias.fill_(start[-1])
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
    best, weights = 0.0, np.zeros(7)
    for _ in range(4):
        chosen = order.permutation(60)
        for first in range(0, 60, 20):
            rows = chosen[first : first + 20]
            eta = layer(torch.tensor(x[rows])).squeeze(-1)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(eta, torch.tensor(y[rows], dtype=torch.double))
            loss = loss + 1e-3 * layer.weight.abs().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = float(((layer(torch.tensor(x[60:])).squeeze(-1) > 0).numpy() == y[60:]).mean())
        if right > best:
            best, weights = right, np.append(layer.weight.detach().numpy()[0], layer.bias.item())
    assert accuracy == best
    np.testing.assert_allclose(ours, weights, atol=1e-9)
