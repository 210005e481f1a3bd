"""Pairs of labels for SCR: a training set in which they always come together, and one in which they don't."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.evaluation.error_prediction.folds import grouped_folds
from sae.evaluation.probing.tasks import Task


@dataclass(frozen=True, eq=False)
class Pair:
    """Two labels a and b.

    Attributes:
        biased: both or neither on each training unit, as many of one as of the other; `y` is both of them.
        a, b: over the same units, as many of each of the four combinations; `y` is the one or the other.
    """

    biased: Task
    a: Task
    b: Task


def smallest_cell(a: np.ndarray, b: np.ndarray, among: np.ndarray) -> int:
    """Units of the rarest combination of two labels."""
    return min(int(cell.sum()) for cell in _cells(a, b, among))


def make_pair(
    names: tuple[str, str],
    a: np.ndarray,
    b: np.ndarray,
    known: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    group: np.ndarray,
    *,
    most_train: int = 4000,
    most_test: int = 1000,
    seed: int = 0,
) -> Pair:
    """Draw the units; arrays are over the n units. `most_train` and `most_test`: units together, at most."""
    generator = np.random.default_rng(seed)
    both, neither = a & b, ~a & ~b
    inside = _drawn([known & train & both, known & train & neither], most_train, generator)
    even = _drawn(_cells(a, b, known & train), most_train, generator)
    asked = _drawn(_cells(a, b, known & test), most_test, generator)

    def task(label: str, rows: np.ndarray, truth: np.ndarray) -> Task:
        y, y_test = truth[rows], truth[asked]
        fold = grouped_folds(y, np.unique(group[rows], return_inverse=True)[1], 3, generator)
        folds = [fold == number for number in range(3)]
        # Nothing is asked with shuffled labels here: random features are the control.
        return Task(" and ".join(names), label, rows, asked, y, y_test, y, y_test, folds)

    return Pair(task("both", inside, a), task(names[0], even, a), task(names[1], even, b))


def _cells(a: np.ndarray, b: np.ndarray, among: np.ndarray) -> list[np.ndarray]:
    return [among & a & b, among & a & ~b, among & ~a & b, among & ~a & ~b]


def _drawn(cells: list[np.ndarray], most: int, generator: np.random.Generator) -> np.ndarray:
    """As many units of each cell, ascending."""
    rows = [np.flatnonzero(cell) for cell in cells]
    m = min(*map(len, rows), most // len(cells))
    return np.sort(np.concatenate([generator.choice(one, m, replace=False) for one in rows]))
