"""What an explained variance has to beat: the mean, PCA of as many components, a random dictionary.

Rows come block by block (`Blocks`): a tensor, or rows that are read as they are needed. Sums are in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sae.common.precision import exact
from sae.common.row_reader import RowBlocks, RowReader, sample

if TYPE_CHECKING:
    from torch import Tensor

    from sae.models.base import SAE

    Blocks = Tensor | RowBlocks

PCA_ROWS = 65_536
RANDOM_ROWS = 16_384
IN_CACHE = 256
AT_ONCE = 2**23  # pre-activations held at once: 32 MB


def _blocks(x: Blocks) -> Iterator[Tensor]:
    """Rows, a few at a time: their float64 copies then stay in cache."""
    for block in x if isinstance(x, RowBlocks) else [x]:
        yield from block.split(IN_CACHE)


def _mean(x: Blocks) -> Tensor:
    """Per-dimension mean [d_in], float64."""
    import torch

    return torch.stack([exact(block).sum(0) for block in _blocks(x)]).sum(0) / len(x)


class Spread(NamedTuple):
    """Of rows: how many elements they have, Σ‖x-μ‖², the sum and the sum of squares of their elements."""

    elements: int
    squared_spread: float
    total: float
    square: float

    def ev(self, error: float, error_sum: float) -> dict[str, float]:
        """EV_total and EV_flat of a reconstruction from its Σ(x-x̂)² and Σ(x-x̂)."""
        variance = self.square - self.total**2 / self.elements
        return {
            "ev_total": 1 - error / self.squared_spread if self.squared_spread > 0 else float("nan"),
            "ev_flat": 1 - (error - error_sum**2 / self.elements) / variance if variance > 0 else float("nan"),
        }


class Kept(NamedTuple):
    """What the first 1, 2, ... d_in principal components keep of some rows: of Σ‖x-μ‖², and of Σ(x-μ)."""

    spread: Spread
    centred_sum: float
    squares: Tensor
    sums: Tensor

    def ev(self, k: int) -> dict[str, float]:
        """EV_total and EV_flat of reconstructing the rows from K components (at most d_in)."""
        at = min(k, len(self.squares))
        kept, kept_sum = float(self.squares[:at].sum()), float(self.sums[:at].sum())
        return self.spread.ev(self.spread.squared_spread - kept, self.centred_sum - kept_sum)


class PCA:
    """Principal components of the training rows.

    Args:
        x: training rows [n, d_in].
    """

    def __init__(self, x: Blocks) -> None:
        import torch

        n, d_in = x.shape
        self.mean = _mean(x)
        covariance = torch.zeros(d_in, d_in, dtype=torch.float64, device=self.mean.device)
        for block in _blocks(x):
            centred = exact(block) - self.mean
            covariance.addmm_(centred.T, centred)
        values, vectors = torch.linalg.eigh((covariance / max(n - 1, 1)).cpu())
        self.variances = values.flip(0).clamp_min(0)
        self.components = vectors.flip(1).to(self.mean.device)  # [d_in, d_in], columns by falling variance

    def kept(self, x: Blocks) -> Kept:
        """What components keep of rows x [n, d_in], for any number of them in one pass."""
        import torch

        n, d_in = x.shape
        squares = torch.zeros(d_in, dtype=torch.float64, device=self.mean.device)
        scores_sum = torch.zeros(d_in, dtype=torch.float64, device=self.mean.device)
        totals = torch.zeros(4, dtype=torch.float64, device=self.mean.device)
        for block in _blocks(x):
            rows = exact(block)
            centred = rows - self.mean
            scores = centred @ self.components
            squares += scores.square().sum(0)
            scores_sum += scores.sum(0)
            totals += torch.stack([centred.square().sum(), centred.sum(), rows.square().sum(), rows.sum()])
        spread, centred_sum, square, total = (float(value) for value in totals)
        # An error's grand mean is needed for EV_flat: the sum of the error over elements, by component.
        sums = scores_sum * self.components.sum(0)
        return Kept(Spread(n * d_in, spread, total, square), centred_sum, squares.cpu(), sums.cpu())

    def ev(self, x: Blocks, ks: list[int]) -> dict[int, dict[str, float]]:
        """EV_total and EV_flat of reconstructing rows x [n, d_in] from K components, for each K (at most d_in)."""
        kept = self.kept(x)
        return {k: kept.ev(k) for k in ks}


def mean_predictor(kept: Kept) -> dict[str, float]:
    """EV of predicting the training mean: `ev_total` is 0 by definition, `ev_flat` is not."""
    return {**kept.spread.ev(kept.spread.squared_spread, kept.centred_sum), "ev_total": 0.0}


def random_dictionary(
    x_train: Blocks, splits: Mapping[str, Blocks], d_sae: int, k: int, seed: int = 0
) -> dict[str, dict[str, float]]:
    """EV of K of `d_sae` random unit directions, tied encoder, b_dec at the mean, untrained; by split.

    The one thing that is fitted is a common scale of the activations, by least squares on the training rows: without it
    overlapping directions overshoot and the baseline would be too easy to beat. It does not change which K are chosen,
    so each row is encoded once: with g what the directions give and s the scale, the error is x - μ - s g.
    """
    import torch

    from sae.models.topk import TopK

    mean = _mean(x_train)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(d_sae, x_train.shape[1], generator=generator)
    model = TopK(x_train.shape[1], d_sae, k)
    with torch.no_grad():
        model.W_dec.copy_(directions / directions.norm(dim=1, keepdim=True))
        model.W_enc.copy_(model.W_dec.T)
        model.b_dec.copy_(mean)
        model = model.to(next(iter(_blocks(x_train))).device)
        sums = {name: _guessed(model, rows, mean) for name, rows in {"train": x_train, **splits}.items()}
    fitted = sums["train"]
    scale = fitted.product / fitted.guess_square if fitted.guess_square > 0 else 0.0
    found = {}
    for name in splits:
        one = sums[name]
        error = one.spread.squared_spread - 2 * scale * one.product + scale**2 * one.guess_square
        found[name] = one.spread.ev(error, one.centred_sum - scale * one.guess_sum)
    return found


class Guessed(NamedTuple):
    """Sums over rows x and the parts g of their reconstructions μ + g."""

    spread: Spread
    centred_sum: float
    product: float
    """Σ g·(x-μ)"""
    guess_square: float
    guess_sum: float


def _guessed(model: SAE, x: Blocks, mean: Tensor) -> Guessed:
    import torch

    totals = torch.zeros(7, dtype=torch.float64, device=mean.device)
    for block in _blocks(x):
        for rows in block.split(max(1, AT_ONCE // model.d_sae)):
            wanted, guess = exact(rows), exact(model(rows) - model.b_dec)
            centred = wanted - mean
            pairs = ((centred, centred), (wanted, wanted), (guess, centred), (guess, guess))
            parts = [(a * b).sum() for a, b in pairs] + [part.sum() for part in (centred, wanted, guess)]
            totals += torch.stack(parts)
    spread, square, product, guess_square, centred_sum, total, guess_sum = (float(value) for value in totals)
    return Guessed(
        Spread(x.shape[0] * x.shape[1], spread, total, square), centred_sum, product, guess_square, guess_sum
    )


class Baselines:
    """The baselines of one slice, on at most 65,536 rows of each split (PCA and the mean), 16,384 (random dictionary).

    Args:
        x: all rows [n, d_in].
        splits: row numbers, ascending; `train` among them.
    """

    def __init__(self, x: np.ndarray | RowReader, splits: Mapping[str, np.ndarray], device: str = "cpu") -> None:
        self._reader = x if isinstance(x, RowReader) else RowReader(x)
        self._splits = {name: rows for name, rows in splits.items() if len(rows)}
        self._device = device
        self._random: dict[tuple[int, int], dict[str, dict[str, float]]] = {}

    @cached_property
    def pca(self) -> PCA:
        return PCA(self._parts(PCA_ROWS)["train"])

    @cached_property
    def _kept(self) -> dict[str, Kept]:
        return {name: self.pca.kept(part) for name, part in self._parts(PCA_ROWS).items()}

    def of(self, d_sae: int, k: int) -> dict[str, dict[str, dict[str, float]]]:
        """`{"mean_predictor" | "pca" | "random_dictionary": {split: {"ev_total", "ev_flat"}}}` for a cell of a grid."""
        if (d_sae, k) not in self._random:
            parts = self._parts(RANDOM_ROWS)
            self._random[d_sae, k] = random_dictionary(parts["train"], parts, d_sae, k)
        return {
            "mean_predictor": {name: mean_predictor(kept) for name, kept in self._kept.items()},
            "pca": {name: kept.ev(k) for name, kept in self._kept.items()},
            "random_dictionary": self._random[d_sae, k],
        }

    def _parts(self, most: int) -> dict[str, RowBlocks]:
        return {name: RowBlocks(self._reader, sample(rows, most), self._device) for name, rows in self._splits.items()}
