"""What the explained variance of a transcoder has to beat: the mean of what is written, what is read as it is, and a
linear map of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sae.common.precision import exact
from sae.common.row_reader import JoinedReader, RowBlocks, RowReader, sample
from sae.evaluation.baselines import PCA_ROWS, Spread

RIDGE = 1e-4  # of the mean variance of a dimension that is read


class PairBaselines:
    """Of rows x [n, d] that are read and rows y [n, d] that are written, on at most 65,536 rows of each split.

    Args:
        splits: row numbers, ascending; `train` among them.
    """

    def __init__(self, x: RowReader, y: RowReader, splits: Mapping[str, np.ndarray], device: str = "cpu") -> None:
        reader = JoinedReader([x, y])
        self._width = x.x.shape[1]
        self._parts = {
            name: RowBlocks(reader, sample(rows, PCA_ROWS), device) for name, rows in splits.items() if len(rows)
        }

    @cached_property
    def linear(self) -> tuple[Tensor, Tensor, Tensor]:
        """(mean of x [d], mean of y [d], B [d, d]) of the training rows, float64: y is about its mean plus (x less its
        mean) @ B, by least squares with a slight ridge.
        """
        d, total = self._width, torch.zeros(2 * self._width, dtype=torch.float64)
        for block in self._parts["train"]:
            total += exact(block).sum(0).cpu()
        mean = total / len(self._parts["train"])
        products = torch.zeros(d, 2 * d, dtype=torch.float64)
        for block in self._parts["train"]:
            centred = exact(block).cpu() - mean
            products.addmm_(centred[:, :d].T, centred)
        square, cross = products[:, :d], products[:, d:]
        ridge = RIDGE * float(square.diagonal().mean()) or 1.0
        return mean[:d], mean[d:], torch.linalg.solve(square + ridge * torch.eye(d, dtype=torch.float64), cross)

    @cached_property
    def _found(self) -> dict[str, dict[str, dict[str, float]]]:
        found: dict[str, dict[str, dict[str, float]]] = {"mean_predictor": {}, "identity": {}, "linear": {}}
        mean_x, mean_y, B = self.linear
        for name, part in self._parts.items():
            sums = torch.zeros(3, dtype=torch.float64)
            errors = {kind: torch.zeros(2, dtype=torch.float64) for kind in found}
            for block in part:
                rows = exact(block).cpu()
                x, y = rows[:, : self._width], rows[:, self._width :]
                sums += torch.stack([(y - mean_y).square().sum(), y.sum(), y.square().sum()])
                guesses = {"mean_predictor": mean_y, "identity": x, "linear": mean_y + (x - mean_x) @ B}
                for kind, guess in guesses.items():
                    errors[kind] += torch.stack([(y - guess).square().sum(), (y - guess).sum()])
            spread = Spread(len(part) * self._width, *sums.tolist())
            for kind, error in errors.items():
                found[kind][name] = spread.ev(*error.tolist())
        return found

    def of(self, d_sae: int, k: int) -> dict[str, dict[str, dict[str, float]]]:
        """`{"mean_predictor" | "identity" | "linear": {split: {"ev_total", "ev_flat"}}}`, of whatever size."""
        return self._found
