"""Folds in which no group stands on both sides, and wrong and right answers are shared out evenly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def grouped_folds(wrong: np.ndarray, group: np.ndarray, n_folds: int, generator: np.random.Generator) -> np.ndarray:
    """The fold of each problem.

    Groups are dealt out whole, the largest first and those of one size in random order, each to the fold in which wrong
    and right answers are then spread most evenly: the sum over folds of (wrong / all wrong)² + (right / all right)² is
    kept smallest. With groups of one problem this is a random stratified split.

    Args:
        wrong: bool [n]. group: int [n], 0 to the number of groups less 1.

    Returns:
        int [n], 0 to n_folds - 1.
    """
    n_groups = int(group.max()) + 1
    n_wrong = np.bincount(group, wrong, n_groups)
    n_right = np.bincount(group, ~wrong, n_groups)
    order = generator.permutation(n_groups)
    order = order[np.argsort(-(n_wrong + n_right)[order], kind="stable")]
    per_wrong, per_right = max(n_wrong.sum(), 1.0) ** -2, max(n_right.sum(), 1.0) ** -2
    held_wrong, held_right = [0.0] * n_folds, [0.0] * n_folds
    fold_of_group = np.zeros(n_groups, np.int64)
    wrongs, rights = n_wrong.tolist(), n_right.tolist()
    folds = generator.permutation(n_folds).tolist()  # which fold is first among equals
    for one in order.tolist():
        more_wrong, more_right = wrongs[one], rights[one]
        best, least = 0, float("inf")
        for fold in folds:
            # what (held + more)² - held² adds, without the part that is the same for every fold
            cost = held_wrong[fold] * more_wrong * per_wrong + held_right[fold] * more_right * per_right
            if cost < least:
                best, least = fold, cost
        fold_of_group[one] = best
        held_wrong[best] += more_wrong
        held_right[best] += more_right
    return fold_of_group[group]


def splits(fold: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(training, held out) masks, bool [n] each, fold by fold; folds that are empty are passed over."""
    for number in range(int(fold.max()) + 1):
        held = fold == number
        if held.any():
            yield ~held, held


def permuted_by_group(wrong: np.ndarray, group: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The labels with groups exchanged: how many are wrong, and what belongs together, stays.

    The groups' labels are laid end to end in a random order over the problems in the order of their groups. For groups
    of one size this exchanges whole groups; blocks of unequal size overlap neighbours at their ends.
    """
    order = np.argsort(group, kind="stable")
    if int(group.max()) + 1 == len(group):
        return generator.permutation(wrong)
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    blocks = np.split(wrong[order], starts[1:])
    shuffled = np.concatenate([blocks[i] for i in generator.permutation(len(blocks))])
    result = np.empty_like(wrong)
    result[order] = shuffled
    return result
