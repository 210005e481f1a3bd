"""What the runs on one slice share: its splits, statistics and baselines, and its training rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sae.capture.statistics import NEAR_CONSTANT
from sae.common.errors import UserError
from sae.common.row_reader import RowBlocks, RowReader
from sae.evaluation.baselines import Baselines
from sae.training.rows import Moments, ResidentRows, Rows, moments_of
from sae.training.streamed_rows import StreamedRows, chunk_rows_for
from sae.training.training import VALIDATION_ROWS

if TYPE_CHECKING:
    from torch import Tensor

    from sae.capture.store import Slice
    from sae.training.config import TrainingConfig


class Data:
    """One slice: its splits, and what every run on it shares. Rows are read as they are needed.

    Raises:
        UserError: if the slice has no training rows.
    """

    def __init__(self, piece: Slice, device: str) -> None:
        self.slice, self.device = piece, device
        self.splits: dict[str, np.ndarray] = {
            "train": piece.train_rows,
            "validation": piece.validation_rows,
            "test": piece.test_rows,
        }
        train = self.splits["train"]
        if len(train) < 2:
            raise UserError(f"{piece.title} of {piece.activations.name!r} has fewer than two training rows")
        self.reader = RowReader(piece.x)
        self.moments = moments_of(RowBlocks(self.reader, train))
        self.train_mean = self.moments.mean.numpy()
        self.facts = _facts(self.moments)
        self.baselines = Baselines(self.reader, self.splits, device)
        self.examples = piece.rows["example"].to_numpy()
        self.chunk_rows = chunk_rows_for(len(train), piece.x.shape[1], device)
        """How the rows of runs that do not say it are shuffled: decided once, when the slice is opened."""
        self._rows: dict[int, Rows] = {}

    def rows(self, chunk_rows: int) -> Rows:
        """The training rows, for a setting of `chunk_rows` that is decided: 0 is all of them, on the device."""
        if chunk_rows not in self._rows:
            self._rows[chunk_rows] = self._streamed(chunk_rows) if chunk_rows else self._resident()
        return self._rows[chunk_rows]

    @property
    def validation(self) -> Tensor:
        """Rows of the validation curve [at most 4,096, d_in], on the device."""
        numbers = self.splits["validation"][:VALIDATION_ROWS]
        return torch.from_numpy(self.reader.rows(numbers)).to(self.device).float()

    def principal(self, configs: Iterable[TrainingConfig]) -> Tensor | None:
        """Principal directions, if a run starts from them."""
        starts = [getattr(config, "decoder_init", "") for config in configs]
        return self.baselines.pca.components if "data" in starts else None

    def _streamed(self, chunk_rows: int) -> Rows:
        return StreamedRows(self.slice.x, self.splits["train"], chunk_rows, self.device, self.moments)

    def _resident(self) -> Rows:
        numbers = self.splits["train"]
        x = torch.empty(len(numbers), self.slice.x.shape[1], device=self.device)
        place = 0
        for block in RowBlocks(self.reader, numbers):
            x[place : place + len(block)] = block.to(self.device)
            place += len(block)
        return ResidentRows(x, self.moments)


def _facts(moments: Moments) -> dict[str, Any]:
    """What any SAE on these rows meets: their mean's norm, their spread around it, and whether they hardly differ.

    Where all rows are nearly one vector, explained variance says little, however high it is.
    """
    centred, norm = moments.centred_norm, float(moments.mean.norm())
    return {
        "mean_norm": norm,
        "centred_norm": centred,
        "near_constant": centred < NEAR_CONSTANT * norm or centred <= 1e-9 * norm,
    }
