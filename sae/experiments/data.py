"""What the runs on one slice share: its splits, statistics and baselines, and its training rows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sae.capture.several_layers import SeveralLayers
from sae.capture.statistics import NEAR_CONSTANT
from sae.common.errors import UserError
from sae.common.row_reader import JoinedReader, RowBlocks, RowReader, reader_of
from sae.evaluation.baselines import Baselines
from sae.evaluation.pair_baselines import PairBaselines
from sae.experiments.targets import target_slice
from sae.training.evened import Evened
from sae.training.rows import Moments, ResidentRows, Rows, joined_moments, moments_of
from sae.training.start import principal_directions
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
        self.reader = reader_of(piece.x)
        pieces = piece.parts if isinstance(piece, SeveralLayers) else (piece,)
        parts = [moments_of(RowBlocks(part.x, train)) for part in pieces]
        self.moments = joined_moments(parts) if isinstance(piece, SeveralLayers) else parts[0]
        self.train_mean = self.moments.mean.numpy()
        self.facts = _facts(self.moments)
        self.baselines = Baselines(self.reader, self.splits, device)
        self.examples = piece.rows["example"].to_numpy()
        self.chunk_rows = chunk_rows_for(len(train), piece.x.shape[1], device)
        """How the rows of runs that do not say it are shuffled: decided once, when the slice is opened."""
        self._rows: dict[tuple[int, Slice | None], Rows] = {}
        self._targets: dict[tuple[int | None, int | None], Target] = {}

    def target(self, config: TrainingConfig) -> Target | None:
        """What a run of that configuration reconstructs, where it is another slice than it reads.

        Raises:
            UserError: if there is no such slice, or it holds other examples.
        """
        piece = target_slice(self.slice, config)
        if piece is None:
            return None
        place = (piece.layer, piece.position)
        if place not in self._targets:
            self._targets[place] = Target(self, piece)
        return self._targets[place]

    def rows(self, chunk_rows: int, target: Target | None = None) -> Rows:
        """The training rows, for a setting of `chunk_rows` that is decided: 0 is all of them, on the device.

        Args:
            target: its rows stand beside those of the slice.
        """
        key = (chunk_rows, target.slice if target else None)
        if key not in self._rows:
            self._rows[key] = self._streamed(chunk_rows, target) if chunk_rows else self._resident(target)
        return self._rows[key]

    def validation(self, target: Target | None = None) -> Tensor:
        """Rows of the validation curve [at most 4,096, d_in], on the device."""
        numbers = self.splits["validation"][:VALIDATION_ROWS]
        return torch.from_numpy(self._read(target).rows(numbers)).to(self.device).float()

    def principal(self, configs: Iterable[TrainingConfig]) -> Tensor | None:
        """Principal directions, if a run starts from them."""
        starts = [getattr(config, "decoder_init", "") for config in configs]
        if "data" not in starts:
            return None
        return self._evened_principal if self.moments.parts else self.baselines.pca.components

    @cached_property
    def _evened_principal(self) -> Tensor:
        """Of several layers brought to one spread, as a crosscoder in training sees them."""
        return principal_directions(Evened(self.rows(self.chunk_rows)))

    def _read(self, target: Target | None) -> RowReader:
        return JoinedReader([self.reader, target.reader]) if target else self.reader

    def _moments(self, target: Target | None) -> Moments:
        return joined_moments([self.moments, target.moments]) if target else self.moments

    def _streamed(self, chunk_rows: int, target: Target | None) -> Rows:
        reader, moments = self._read(target), self._moments(target)
        return StreamedRows(reader, self.splits["train"], chunk_rows, self.device, moments)

    def _resident(self, target: Target | None) -> Rows:
        numbers, reader = self.splits["train"], self._read(target)
        x = torch.empty(len(numbers), reader.x.shape[1], device=self.device)
        place = 0
        for block in RowBlocks(reader, numbers):
            x[place : place + len(block)] = block.to(self.device)
            place += len(block)
        return ResidentRows(x, self._moments(target))


class Target:
    """The slice that transcoders on `data` reconstruct: its rows are those of the same examples."""

    def __init__(self, data: Data, piece: Slice) -> None:
        self.slice = piece
        self.reader = reader_of(piece.x)
        self.moments = moments_of(RowBlocks(self.reader, data.splits["train"]))
        self.train_mean = self.moments.mean.numpy()
        self.facts = _facts(self.moments)
        self.baselines = PairBaselines(data.reader, self.reader, data.splits, data.device)


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
