"""Labelled units for probes: examples of the run's own activations, their rows pooled, on both sides of the split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

    from sae.analysis.label_columns import Labels, Limits
    from sae.capture.store import Slice

POOLINGS = ("mean", "last")
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Units:
    """n examples that have rows in a slice, in their order.

    Attributes:
        x: float32 [n, d_in], pooled over an example's rows.
        pool: CSR [n, n_rows], by which codes are pooled in the same way.
        group: int [n], from 0 on; what stays on one side of any split.
        train, test: bool [n]. No group is in both.
        split: which split `test` is.
        labels: of the n examples.
        dropped: training examples that were left out because the test split has their group.
    """

    x: np.ndarray
    pool: csr_matrix
    group: np.ndarray
    train: np.ndarray
    test: np.ndarray
    split: str
    labels: Labels
    dropped: int
    notes: dict[str, Any] = field(default_factory=dict)

    def pooled(self, codes: csr_matrix) -> csr_matrix:
        """[n, d_sae] of codes [n_rows, d_sae], float64."""
        return (self.pool @ codes).tocsr()

    def having(self, label: int) -> np.ndarray:
        """bool [n]: which units have the label (a line of `labels.table`)."""
        return np.asarray(self.labels.having[:, [label]].todense(), bool).reshape(-1)

    def known(self, label: int) -> np.ndarray:
        """bool [n]: of which units the label's question has an answer."""
        return self.labels.masks[self.labels.mask_of[label]]


def units_of(piece: Slice, columns: tuple[str, ...], pooling: str, limits: Limits | None) -> Units:
    """The examples of a slice with their labels.

    Args:
        columns: of the examples, the only ones that labels are made from; empty: all that `labels_of` reads.
        pooling: `mean` over an example's rows, or its `last` row.
        limits: which labels are used.

    Raises:
        UserError: for an unknown column or pooling, or without examples on both sides of the split.
    """
    from sae.analysis.label_columns import labels_of

    if pooling not in POOLINGS:
        raise UserError(f"pooling {pooling!r} is not known: take one of {', '.join(POOLINGS)}")
    examples, owner = piece.activations.examples, piece.rows["example"].to_numpy()
    if unknown := [name for name in columns if name not in examples]:
        raise UserError(f"the examples have no column {unknown[0]!r}; they have {', '.join(examples.columns)}")
    chosen, first, unit = np.unique(owner, return_index=True, return_inverse=True)
    table = examples.iloc[chosen].reset_index(drop=True)
    pool = _pooling(unit, len(chosen), pooling)
    group = groups_of(table)
    parts = piece.rows["split"].to_numpy().astype(str)[first]
    split = "test" if (parts == "test").any() else "validation"
    train, test = parts == "train", parts == split
    if not train.any() or not test.any():
        raise UserError(
            f"{piece.title} of {piece.activations.name!r} has {int(train.sum()):,} training and {int(test.sum()):,} "
            f"{split} examples: probes need both"
        )
    kept = train & ~np.isin(group, group[test])
    labels = labels_of(table[list(columns)] if columns else table, None, limits)
    dropped = int(train.sum() - kept.sum())
    return Units(_pooled_rows(piece.x, pool), pool, group, kept, test, split, labels, dropped)


def groups_of(examples: pd.DataFrame) -> np.ndarray:
    """int [n]: by the column `group` where it says something, else by the text: one text twice is one group."""
    n = len(examples)
    keys = [f"text {text}" for text in examples["question"]] if "question" in examples else list(map(str, range(n)))
    if "group" in examples:
        given = examples["group"]
        keys = [k if lacks else f"group {g}" for k, g, lacks in zip(keys, given, given.isna(), strict=True)]
    return np.unique(np.array(keys, object).astype(str), return_inverse=True)[1]


def _pooling(unit: np.ndarray, n: int, pooling: str) -> csr_matrix:
    from scipy.sparse import csr_matrix

    rows = np.arange(len(unit))
    if pooling == "last":
        last = np.zeros(n, np.int64)
        np.maximum.at(last, unit, rows)
        return csr_matrix((np.ones(n), (np.arange(n), last)), shape=(n, len(unit)))
    return csr_matrix((1 / np.bincount(unit, minlength=n)[unit], (unit, rows)), shape=(n, len(unit)))


def _pooled_rows(x: np.ndarray, pool: csr_matrix) -> np.ndarray:
    total = np.zeros((pool.shape[0], x.shape[1]))
    by_row = pool.tocsc()
    for start in range(0, len(x), _ROWS_AT_ONCE):
        block = np.asarray(x[start : start + _ROWS_AT_ONCE], np.float32)
        total += by_row[:, start : start + len(block)] @ block
    return total.astype(np.float32)
