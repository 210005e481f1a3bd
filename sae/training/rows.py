"""The rows that an SAE is trained on: their statistics, a sample of them, and their batches in a seeded order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sae.common.precision import exact
from sae.common.row_reader import BLOCK, sample

IN_CACHE = 128  # rows that are taken into float64 at once


class Moments(NamedTuple):
    """Of rows: their mean [d_in] in float64 on the CPU, and the root mean squared norm of the rows less it."""

    mean: Tensor
    centred_norm: float
    parts: tuple[Moments, ...] = ()
    """Of each slice, where rows of several stand side by side."""


class Sampled(Protocol):
    """Training rows, as what starts from them needs them: `Rows`, or rows that are read off some."""

    n: int
    d_in: int
    device: torch.device
    moments: Moments
    mean: Tensor
    """Per-dimension mean [d_in], float32, on the device."""
    centred_norm: float
    """Root mean squared norm of the rows less their mean."""

    def take(self, numbers: Tensor) -> Tensor:
        """Rows by number, on the CPU."""
        ...

    def blocks(self, most: int | None = None) -> Iterator[Tensor]:
        """All rows in order, some thousands at a time, on the device; or about `most` of them, evenly spread."""
        ...


class Rows(Sampled, Protocol):
    """Training rows, wherever they are: `ResidentRows` or `sae.training.streamed_rows.StreamedRows`."""

    def sections(self, seed: int, epoch: int, size: int, first: int = 0) -> Iterator[Section]:
        """The batches of one epoch from number `first` on, by what is in memory together.

        Their order depends on the arguments alone. A section is spent when the next one is asked for.
        """
        ...

    def batches(self, seed: int, epoch: int, size: int, first: int = 0) -> Iterator[Tensor]:
        """The batches of one epoch [size, d_in], on the device, from number `first` on; the last one may be smaller."""
        ...


class Section:
    """Batches of an epoch whose rows are in memory together; it can be gone over more than once.

    Args:
        first: number of its first batch within the epoch.
        x: rows of any float type, on the device; order: those that it has, in order.
        size: of a batch.
        head: float32 rows [less than size, d_in] that the first batch begins with, left over by the section before.
    """

    def __init__(self, first: int, x: Tensor, order: Tensor, size: int, head: Tensor | None = None) -> None:
        self.first, self._x, self._order, self._size, self._head = first, x, order, size, head

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """(number, batch) in order."""
        number, start = self.first, 0
        if self._head is not None and len(self._head):
            start = self._size - len(self._head)
            yield number, torch.cat([self._head, self._x[self._order[:start]].float()])
            number += 1
        for place in range(start, len(self._order), self._size):
            yield number, self._x[self._order[place : place + self._size]].float()
            number += 1


class ResidentRows:
    """Training rows that are resident on the device to train on.

    Args:
        x: [n, d_in], float32.
        moments: of x, where they are known already.
    """

    def __init__(self, x: Tensor, moments: Moments | None = None) -> None:
        self.x = x
        self.n, self.d_in = x.shape
        self.device = x.device
        self.moments = moments or moments_of(x.split(BLOCK))
        self.mean = self.moments.mean.float().to(x.device)
        self.centred_norm = self.moments.centred_norm

    def take(self, numbers: Tensor) -> Tensor:
        return self.x[numbers.to(self.device)].cpu()

    def blocks(self, most: int | None = None) -> Iterator[Tensor]:
        if most is None or self.n <= most:
            yield from self.x.split(BLOCK)
            return
        for numbers in spread(self.n, most).split(BLOCK):
            yield self.x[numbers.to(self.device)]

    def sections(self, seed: int, epoch: int, size: int, first: int = 0) -> Iterator[Section]:
        order = row_order(seed, epoch, self.n)[first * size :]
        if self.device.type == "cuda":  # from pinned memory nobody waits for the copy
            order = order.pin_memory()
        order = order.to(self.device, non_blocking=True)
        yield Section(first, self.x, order, size)

    def batches(self, seed: int, epoch: int, size: int, first: int = 0) -> Iterator[Tensor]:
        for section in self.sections(seed, epoch, size, first):
            for _, batch in section:
                yield batch


def row_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of n rows in one epoch, from seed and epoch alone; drawn on the CPU for every device."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def spread(n: int, most: int) -> Tensor:
    """About `most` of n row numbers, in runs at even distances."""
    return torch.from_numpy(sample(np.arange(n), most))


def joined_moments(parts: Sequence[Moments]) -> Moments:
    """Of rows that stand side by side."""
    squares = sum(part.centred_norm**2 for part in parts)
    return Moments(torch.cat([part.mean for part in parts]), squares**0.5, tuple(parts))


def side_by_side(*slices: Tensor) -> ResidentRows:
    """Rows of several slices [n, d] each, on one device, as one row [n, slices · d] each."""
    moments = joined_moments([moments_of(x.split(BLOCK)) for x in slices])
    return ResidentRows(torch.cat(slices, dim=1), moments)


def moments_of(blocks: Iterable[Tensor]) -> Moments:
    """Moments of rows that come block by block, in one pass in float64.

    Sums are taken about the mean of the first block, so that a mean far from 0 costs no digits.
    """
    n = 0
    shift = total = square = torch.zeros(0)
    for block in blocks:
        if not n:
            shift = exact(block).mean(0)
            total, square = torch.zeros_like(shift), shift.new_zeros(())
        n += len(block)
        for part in block.split(IN_CACHE):
            rows = exact(part) - shift
            total += rows.sum(0)
            square += rows.flatten() @ rows.flatten()
    mean = total / n
    variance = max(0.0, float(square / n - mean @ mean))
    return Moments((shift + mean).cpu(), variance**0.5)
