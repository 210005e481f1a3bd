"""Rows of several layers side by side, each layer brought to one spread."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sae.training.rows import Moments, Sampled


class Evened:
    """Rows whose layers are stretched about their means until all spread alike; together they spread as before.

    A layer whose rows are all the same stays as it is.

    Attributes:
        spreads: [layers], the root mean squared norm of each layer's rows less their mean, before.
        factors: float32 [d_in], what each dimension is stretched by, on the device.

    Args:
        rows: with moments of each layer, all of one width; without, they are one layer.
    """

    def __init__(self, rows: Sampled) -> None:
        self.rows = rows
        self.n, self.d_in, self.device = rows.n, rows.d_in, rows.device
        self.mean, self.centred_norm = rows.mean, rows.centred_norm
        parts = rows.moments.parts or (rows.moments,)
        self.spreads = torch.tensor([part.centred_norm for part in parts], dtype=torch.float64)
        spreading = self.spreads > 0
        common = rows.centred_norm / max(int(spreading.sum()), 1) ** 0.5
        by = torch.where(spreading, common / self.spreads.where(spreading, torch.ones_like(self.spreads)), 1.0)
        self.factors = by.repeat_interleave(rows.d_in // len(parts)).float().to(rows.device)
        after = tuple(Moments(part.mean, common) for part in parts)
        self.moments = Moments(rows.moments.mean, rows.moments.centred_norm, after)

    def take(self, numbers: Tensor) -> Tensor:
        """See `sae.training.rows.Sampled`."""
        mean = self.mean.cpu()
        return (self.rows.take(numbers) - mean) * self.factors.cpu() + mean

    def blocks(self, most: int | None = None) -> Iterator[Tensor]:
        for block in self.rows.blocks(most):
            yield (block - self.mean) * self.factors + self.mean
