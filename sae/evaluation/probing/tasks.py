"""Yes-or-no tasks for probes: one class against the rest, as many units of one as of the other, on either side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from sae.evaluation.bootstrap import drawn_weights, interval
from sae.evaluation.error_prediction.folds import grouped_folds, permuted_by_group


@dataclass(frozen=True, eq=False)
class Task:
    """One class.

    Attributes:
        family, label: the question, and the answer that is `y`.
        train, test: int, ascending unit numbers; half of each have the label.
        y, y_test: bool, whether the units of `train` and `test` have it.
        shuffled, shuffled_test: the same labels with groups exchanged, of training and test units each for themselves.
        folds: bool [n_train] each, three folds of the training units by group.
    """

    family: str
    label: str
    train: np.ndarray
    test: np.ndarray
    y: np.ndarray
    y_test: np.ndarray
    shuffled: np.ndarray
    shuffled_test: np.ndarray
    folds: list[np.ndarray]


def make_task(
    family: str,
    label: str,
    having: np.ndarray,
    known: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    group: np.ndarray,
    *,
    most_train: int = 4000,
    most_test: int = 1000,
    seed: int = 0,
) -> Task:
    """Draw balanced units; all arrays are over the n units.

    Args:
        most_train, most_test: units of both kinds together, at most.
    """
    generator = np.random.default_rng(seed)
    inside = balanced(having, known & train, most_train, generator)
    outside = balanced(having, known & test, most_test, generator)
    y, y_test = having[inside], having[outside]
    groups, groups_test = (np.unique(group[rows], return_inverse=True)[1] for rows in (inside, outside))
    fold = grouped_folds(y, groups, 3, generator)
    return Task(
        family,
        label,
        inside,
        outside,
        y,
        y_test,
        permuted_by_group(y, groups, generator),
        permuted_by_group(y_test, groups_test, generator),
        [fold == number for number in range(3)],
    )


def balanced(having: np.ndarray, among: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Units of `among`, ascending: as many with the label as without, `most` together at most."""
    parts = [np.flatnonzero(among & having), np.flatnonzero(among & ~having)]
    m = min(*map(len, parts), most // 2)
    return np.sort(np.concatenate([generator.choice(part, m, replace=False) for part in parts]))


class Hits:
    """Which test units of which task were told right, by name, and what accuracy that makes.

    Args:
        tasks: in order. group: int [n_units].
    """

    def __init__(self, tasks: list[Task], group: np.ndarray) -> None:
        self.tasks = tasks
        units = np.unique(np.concatenate([task.test for task in tasks]))
        self._groups = [np.searchsorted(units, task.test) for task in tasks]
        number = np.unique(group[units], return_inverse=True)[1]
        self._groups = [number[place] for place in self._groups]
        self.n_groups = int(number.max()) + 1
        self._counts = np.stack([np.bincount(of, minlength=self.n_groups) for of in self._groups], axis=1)
        self.n_units = len(units)
        self._hits: dict[str, np.ndarray] = {}

    def add(self, name: str, hits: Iterable[np.ndarray]) -> None:
        """`hits`: for each task bool or shares [n_test]."""
        columns = zip(hits, self._groups, strict=True)
        self._hits[name] = np.stack([np.bincount(of, hit, self.n_groups) for hit, of in columns], axis=1)

    def accuracy(self, name: str) -> np.ndarray:
        """[n_tasks]."""
        return self._hits[name].sum(axis=0) / self._counts.sum(axis=0)

    @property
    def names(self) -> list[str]:
        return list(self._hits)

    def drawn(
        self, of: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]], draws: int, seed: int
    ) -> dict[str, np.ndarray]:
        """Bootstrap over groups, the same samples for all names.

        Args:
            of: takes accuracies [b, n_tasks] by name and gives numbers [b, ...] by name.

        Returns:
            By name [draws, ...].
        """
        parts: dict[str, list[np.ndarray]] = {}
        for weights in drawn_weights(self.n_groups, draws, seed):
            weights = weights.astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                counts = weights @ self._counts
                accuracies = {name: (weights @ hits) / counts for name, hits in self._hits.items()}
                for name, values in of(accuracies).items():
                    parts.setdefault(name, []).append(values)
        return {name: np.concatenate(found) for name, found in parts.items()}


def family_means(values: np.ndarray, tasks: list[Task]) -> np.ndarray:
    """[...]: mean over families of the mean over a family's tasks, of values [..., n_tasks]; NaN is left out."""
    means = []
    for family in dict.fromkeys(task.family for task in tasks):
        chosen = [place for place, task in enumerate(tasks) if task.family == family]
        means.append(mean_of_finite(values[..., chosen]))
    return mean_of_finite(np.stack(means, axis=-1))


def mean_of_finite(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(finite, values, 0).sum(axis=-1) / finite.sum(axis=-1)


def intervals(draws: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of draws [b] by name."""
    return {name: interval(values) for name, values in draws.items()}
