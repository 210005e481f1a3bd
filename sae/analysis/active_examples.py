"""On which examples each feature is active, and how strongly: rows of one example made one; and examples halved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class ActiveExamples:
    """Features by examples, sparse.

    Attributes:
        indptr: int64 [d_sae + 1]; feature j owns entries indptr[j]:indptr[j + 1] of
        examples: int64 [nnz], ascending within a feature, and
        values: float64 [nnz], the activation of largest size on any row of the example (the positive one of two).
    """

    def __init__(self, indptr: np.ndarray, examples: np.ndarray, values: np.ndarray, n_examples: int) -> None:
        self.indptr, self.examples, self.values, self.n_examples = indptr, examples, values, n_examples

    @property
    def n_active(self) -> np.ndarray:
        """int64 [d_sae]: on how many examples each feature is active."""
        return np.diff(self.indptr)

    def matrix(self, features: np.ndarray, *, values: bool = False) -> csr_matrix:
        """[features, n_examples]: 1 where active (int32), or the values (float64)."""
        entries, indptr = self._entries(features)
        data = self.values[entries] if values else np.ones(len(entries), np.int32)
        return self._sparse(data, self.examples[entries], indptr)

    def ranks(self, features: np.ndarray, among: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
        """Ranks of the values among the examples chosen by `among` (bool [n_examples]), silent ones being 0.

        Equal values have their mean rank, from 1 on. Returned are [features, n_examples], by how much the rank of an
        active example is above that of the silent ones, and [features], the rank of the silent ones.
        """
        entries, indptr = self._entries(features)
        line = np.repeat(np.arange(len(features)), np.diff(indptr))
        kept = among[self.examples[entries]]
        entries, line = entries[kept], line[kept]
        order = np.lexsort((self.values[entries], line))
        entries, line = entries[order], line[order]
        value = self.values[entries]
        n_active = np.bincount(line, minlength=len(features))
        starts = np.cumsum(n_active) - n_active
        new = np.ones(len(entries), bool)
        new[1:] = (np.diff(line) > 0) | (np.diff(value) > 0)
        tie = np.cumsum(new) - 1
        first = np.flatnonzero(new)
        lengths = np.diff(np.append(first, len(entries)))
        rank = (first + (lengths - 1) / 2)[tie] - starts[line] + 1
        n_silent = int(among.sum()) - n_active
        below = np.bincount(line[value < 0], minlength=len(features))
        silent = below + (n_silent + 1) / 2
        rank = rank + np.where(value > 0, n_silent[line], 0)
        indptr = np.concatenate([[0], np.cumsum(n_active)])
        return self._sparse(rank - silent[line], self.examples[entries], indptr), silent

    def _entries(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lengths = self.n_active[features]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return np.repeat(self.indptr[features] - indptr[:-1], lengths) + np.arange(indptr[-1]), indptr

    def _sparse(self, data: np.ndarray, examples: np.ndarray, indptr: np.ndarray) -> csr_matrix:
        from scipy.sparse import csr_matrix

        return csr_matrix((data, examples, indptr), shape=(len(indptr) - 1, self.n_examples))


def active_examples(codes: FeatureActivations, example: np.ndarray, n_examples: int) -> ActiveExamples:
    """Make one entry of all rows of an example. `example`: int [n_rows], 0 to n_examples - 1."""
    lengths = codes.n_active
    owner = np.repeat(np.arange(codes.d_sae, dtype=np.int64), lengths)
    key = owner * n_examples + np.asarray(example, np.int64)[codes.feature_rows]
    value = codes.feature_values.astype(np.float64)
    if (np.diff(key) < 0).any():  # rows that are not ordered by example
        order = np.argsort(key, kind="stable")
        key, value = key[order], value[order]
    first = np.flatnonzero(np.diff(key, prepend=-1) > 0)
    if len(first) < len(key):
        highest, lowest = np.maximum.reduceat(value, first), np.minimum.reduceat(value, first)
        value = np.where(highest >= -lowest, highest, lowest)
    key = key[first]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(key // max(n_examples, 1), minlength=codes.d_sae))])
    return ActiveExamples(indptr, key % max(n_examples, 1), value, n_examples)


def group_numbers(n: int, group: np.ndarray | None) -> np.ndarray:
    """int64 [n], the group of each of n examples, counted from 0; one without a group (None, NaN) is one by itself.

    Args:
        group: [n]; None: every example is its own.
    """
    import pandas as pd

    number = np.arange(n)
    if group is None:
        return number
    code, _ = pd.factorize(np.asarray(group, object))
    return np.unique(np.where(code >= 0, code, n + number), return_inverse=True)[1]


def halves(present: np.ndarray, group: np.ndarray | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the examples that are present, bool [n_examples] each; a group stays on one side.

    Groups, largest first and otherwise in random order, go to the half that is smaller so far. An example without a
    group (None, NaN) is one by itself.

    Raises:
        UserError: if there are fewer than two groups.
    """
    here = np.flatnonzero(present)
    number = group_numbers(len(here), None if group is None else np.asarray(group, object)[here])
    sizes = np.bincount(number)
    if len(sizes) < 2:
        raise UserError(f"{len(here)} examples of {len(sizes)} group can't be halved: two groups are needed at least")
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    side, filled = np.zeros(len(sizes), bool), [0, 0]
    for one in order:
        smaller = int(filled[1] < filled[0])
        side[one] = bool(smaller)
        filled[smaller] += int(sizes[one])
    first = np.zeros(len(present), bool)
    first[here[~side[number]]] = True
    return first, present & ~first
