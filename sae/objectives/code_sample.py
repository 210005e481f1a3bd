"""Codes of some rows of every step of a window, kept sparse: what statistics of pairs are taken on.

One batch is too little to tell which features fire together, and a matrix of all pairs is too large to be averaged over
batches. A few rows of every step tell it, whatever the number of features.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sae.objectives.similarity import Measure, measure_from_sums
from sae.objectives.sparse_gram import Entries, indexed, sums

ROWS = 8192  # in a whole window, about; at least one of each step


class CodeSample:
    """The first rows of every batch (batches are in random order) until `clear`.

    Args:
        window: steps that it is for.
    """

    def __init__(self, d_sae: int, window: int) -> None:
        self.d_sae = d_sae
        self.each = max(1, -(-ROWS // window))
        self.clear()

    def clear(self) -> None:
        self._counts: list[np.ndarray] = []
        self._features: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._steps: list[int] = []

    def add(self, code: Tensor, step: int) -> None:
        """Of one step's codes [B, d_sae]."""
        kept = code[: self.each].detach().cpu()
        rows, features = kept.nonzero(as_tuple=True)
        self._counts.append(np.bincount(rows.numpy(), minlength=len(kept)))
        self._features.append(features.numpy().astype(np.int32))
        self._values.append(kept[rows, features].numpy())
        self._steps += [step] * len(kept)

    @property
    def steps(self) -> np.ndarray:
        """The step of each row."""
        return np.array(self._steps, np.int64)

    def entries(self, bits: bool = False) -> Entries:
        """By row and by feature; with `bits`, 1 wherever a feature is active."""
        counts = np.concatenate(self._counts) if self._counts else np.empty(0, np.int64)
        features = np.concatenate(self._features) if self._features else np.empty(0, np.int32)
        values = np.concatenate(self._values) if self._values else np.empty(0, np.float32)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return indexed(start, features, np.ones_like(values) if bits else values, self.d_sae)

    def held(self) -> dict[str, Tensor]:
        entries = self.entries()
        return {
            "sample.start": torch.from_numpy(entries.row_start),
            "sample.features": torch.from_numpy(entries.features),
            "sample.values": torch.from_numpy(entries.values),
            "sample.steps": torch.from_numpy(self.steps),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._counts = [np.diff(state["sample.start"].numpy())]
        self._features = [state["sample.features"].numpy().copy()]
        self._values = [state["sample.values"].numpy().copy()]
        self._steps = state["sample.steps"].tolist()


def pearson_measure(entries: Entries) -> Measure:
    """For Pearson's r between features over the rows of a sample."""
    total, squares = (torch.from_numpy(part) for part in sums(entries))
    return measure_from_sums("act_pearson", total, squares, max(1, len(entries.row_start) - 1))
