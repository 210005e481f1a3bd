"""The rows that an SAE is trained on: their statistics, a sample of them, and their batches in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sae.common.precision import exact

BLOCK = 8192


class Rows:
    """Training rows that are resident on the device to train on.

    Args:
        x: [n, d_in], float32.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.n, self.d_in = x.shape
        self.device = x.device
        total = sum((exact(block).sum(0) for block in x.split(BLOCK)), torch.zeros(self.d_in, dtype=torch.float64))
        self.mean = (total / self.n).float().to(x.device)
        """Per-dimension mean [d_in]."""
        square = sum(float(exact(block - self.mean).square().sum()) for block in x.split(BLOCK))
        self.centred_norm = (square / self.n) ** 0.5
        """Root mean squared norm of the rows less their mean."""

    def take(self, numbers: Tensor) -> Tensor:
        """Rows by number, on the CPU."""
        return self.x[numbers.to(self.device)].cpu()

    def blocks(self) -> Iterator[Tensor]:
        """All rows in order, some thousands at a time, on the device."""
        yield from self.x.split(BLOCK)

    def batches(self, seed: int, epoch: int, size: int, first: int = 0) -> Iterator[Tensor]:
        """The batches of one epoch [size, d_in], on the device, from number `first` on; the last one may be smaller."""
        order = row_order(seed, epoch, self.n).to(self.device)
        for start in range(first * size, self.n, size):
            yield self.x[order[start : start + size]]


def row_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of n rows in one epoch, from seed and epoch alone; drawn on the CPU for every device."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
