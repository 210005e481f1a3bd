"""Sparse probing: how well the k features that differ most between two classes tell them apart on unseen units.

Features are chosen on training units by |mean with the label - mean without|, and a logistic regression (L2, its C
chosen by grouped folds of the training units) reads them; the same for the activations' own dimensions. Accuracy is
on balanced test units, so 0.5 is chance. Beside it stands SAEBench's own way on the same units: scikit-learn's default
regression (C 1, unscaled) for k features, and for all a probe that stops on the test set (`saebench_probe`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sae.evaluation.probing.logistic import chosen_fit, fit, predict
from sae.evaluation.probing.saebench_probe import saebench_probe

if TYPE_CHECKING:
    from sae.evaluation.probing.tasks import Task

KS = (1, 2, 5, 10, 20, 50)


class Probed(NamedTuple):
    """What one kind of features gave, for each task.

    Attributes:
        hits: by name (`top_1`, ..., `all`; `_shuffled` or `_saebench` behind) bool [n_test] for each task.
        chosen: for each task the features, the most different first, int [at most the largest k].
        Cs: by `top_1`, ..., `all`, the C chosen for each task.
    """

    hits: dict[str, list[np.ndarray]]
    chosen: list[np.ndarray]
    Cs: dict[str, list[float]]


def probe(
    features: Any,
    tasks: Sequence[Task],
    ks: Sequence[int] = KS,
    *,
    saebench: bool = True,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Probed:
    """Probes of all tasks.

    Args:
        features: [n_units, d], an array or a CSR matrix.
        ks: numbers of features; all of them are probed too.
    """
    found = Probed({}, [], {})
    for number, task in enumerate(tasks):
        watch(number, len(tasks))
        train, test = features[task.train], features[task.test]
        chosen = _one(found, train, test, task, ks, saebench)
        found.chosen.append(chosen)
    watch(len(tasks), len(tasks))
    return found


def _one(found: Probed, train: Any, test: Any, task: Task, ks: Sequence[int], saebench: bool) -> np.ndarray:
    chosen = np.empty(0, np.int64)
    for behind, y, y_test in (("", task.y, task.y_test), ("_shuffled", task.shuffled, task.shuffled_test)):
        order = most_different(train, y, max(ks))
        columns, columns_test = _dense(train[:, order]), _dense(test[:, order])
        for k in ks:
            w, C = chosen_fit(columns[:, :k], y, task.folds)
            _keep(found, f"top_{k}{behind}", (predict(columns_test[:, :k], w) > 0) == y_test)
            if not behind:
                found.Cs.setdefault(f"top_{k}", []).append(C)
                if saebench:
                    theirs = predict(columns_test[:, :k], fit(columns[:, :k], y, 1.0))
                    _keep(found, f"top_{k}_saebench", (theirs > 0) == y_test)
        # One fold says C well enough where a fit takes long.
        w, C = chosen_fit(train, y, task.folds[:1])
        _keep(found, f"all{behind}", (predict(test, w) > 0) == y_test)
        if not behind:
            chosen = order
            found.Cs.setdefault("all", []).append(C)
    if saebench:
        theirs, _ = saebench_probe(train, task.y, test, task.y_test)
        _keep(found, "all_saebench", (predict(test, theirs) > 0) == task.y_test)
    return chosen


def most_different(x: Any, y: np.ndarray, most: int) -> np.ndarray:
    """The features with the largest |mean where y - mean elsewhere|, int [at most `most`], the largest first."""
    selector = y / max(y.sum(), 1) - ~y / max((~y).sum(), 1)
    difference = np.abs(np.asarray(x.T @ selector).reshape(-1))
    # What rounding leaves of equal means is no difference: such features stay in their order.
    difference[difference < 1e-12 * max(difference.max(initial=0.0), 1e-300)] = 0
    if len(difference) > 4 * most:
        part = np.sort(np.argpartition(-difference, most)[:most])
        return part[np.argsort(-difference[part], kind="stable")]
    return np.argsort(-difference, kind="stable")[:most]


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64) if isinstance(x, np.ndarray) else x.toarray()


def _keep(found: Probed, name: str, hits: np.ndarray) -> None:
    found.hits.setdefault(name, []).append(hits)
