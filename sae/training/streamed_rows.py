"""Training rows that are larger than memory: shuffled chunks of a file, read ahead of their use.

An epoch's order: the training rows are cut into chunks of `chunk_rows` that follow each other in the file, the chunks
are permuted, some of them at a time are read into a buffer of about 256 MB (as float32), and the rows of a buffer are
shuffled. A batch may begin in one buffer and end in the next. While one buffer is used a thread reads the next, so two
of them are in memory, as the file stores them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.common.memory import free_memory
from sae.common.row_reader import RowBlocks, RowReader, sample
from sae.training.rows import Moments, Section, moments_of

CHUNK_BYTES = 2**21  # of a chunk, as float32: a disk reads it in one go
BUFFER_BYTES = 2**28
RESIDENT_SHARE = 0.5  # of the free memory that rows may take to stay resident


def chunk_rows_for(n: int, d_in: int, device: str, wanted: int = 0) -> int:
    """How many rows a chunk has, or 0 for rows that are resident: the one place that decides.

    Rows are resident where n of them in float32 take at most half of the device's free memory.

    Args:
        wanted: `TrainingConfig.chunk_rows`; 0 leaves it to the memory.
    """
    if wanted:
        return wanted
    return 0 if 4 * n * d_in <= RESIDENT_SHARE * free_memory(device) else max(1, CHUNK_BYTES // (4 * d_in))


class Buffer(NamedTuple):
    """The rows of a buffer: its place in the epoch's order of rows, and its chunks in their order."""

    start: int
    rows: int
    chunks: np.ndarray


class StreamedRows:
    """Training rows of a memory map, read as they are needed.

    Args:
        x: [n, d_in], float16 or float32, larger than memory.
        numbers: the rows of x that are trained on, ascending.
        chunk_rows: see `chunk_rows_for`.
        moments: of the rows, where they are known already; otherwise they are read once.
        buffer_rows: rows in memory at once, but at least a chunk.
    """

    def __init__(
        self,
        x: np.ndarray | RowReader,
        numbers: np.ndarray,
        chunk_rows: int,
        device: str | torch.device = "cpu",
        moments: Moments | None = None,
        buffer_rows: int | None = None,
    ) -> None:
        self._reader = x if isinstance(x, RowReader) else RowReader(x)
        self.n, self.d_in = len(numbers), self._reader.x.shape[1]
        self.device = torch.device(device)
        self.chunk_rows = chunk_rows
        self._numbers = numbers
        self._at_once = max(1, (buffer_rows or BUFFER_BYTES // (4 * self.d_in)) // chunk_rows)
        self.moments = moments or moments_of(self.blocks())
        self.mean = self.moments.mean.float().to(self.device)
        self.centred_norm = self.moments.centred_norm

    def take(self, numbers: Tensor) -> Tensor:
        order = np.argsort(numbers.numpy(), kind="stable")
        rows = np.empty((len(order), self.d_in), self._reader.dtype)
        rows[order] = self._reader.x[self._numbers[numbers.numpy()[order]]]
        return torch.from_numpy(rows).float()

    def blocks(self, most: int | None = None) -> Iterator[Tensor]:
        numbers = self._numbers if most is None else sample(self._numbers, most)
        yield from RowBlocks(self._reader, numbers, str(self.device))

    def batches(self, seed: int, epoch: int, size: int, first: int = 0) -> Iterator[Tensor]:
        for section in self.sections(seed, epoch, size, first):
            for _, batch in section:
                yield batch

    def sections(self, seed: int, epoch: int, size: int, first: int = 0) -> Iterator[Section]:
        buffers = self._buffers(seed, epoch)
        begin = next(i for i, one in enumerate(buffers) if first * size < one.start + one.rows)
        largest = max(one.rows for one in buffers)
        pinned = self.device.type == "cuda"
        dtype = torch.from_numpy(np.empty(0, self._reader.dtype)).dtype
        places = [torch.empty(largest, self.d_in, dtype=dtype, pin_memory=pinned) for _ in range(2)]
        number = first
        head = torch.empty(0, self.d_in, device=self.device)
        with ThreadPoolExecutor(1, thread_name_prefix="rows") as ahead:
            waiting = ahead.submit(self._read, buffers[begin], places[begin % 2])
            for at in range(begin, len(buffers)):
                x = waiting.result().to(self.device)
                last = at + 1 == len(buffers)
                if not last:
                    waiting = ahead.submit(self._read, buffers[at + 1], places[(at + 1) % 2])
                order = _permutation(seed, epoch, at + 1, buffers[at].rows)
                order = order[max(0, first * size - buffers[at].start) :].to(self.device)
                kept = len(order) if last else (len(head) + len(order)) // size * size - len(head)
                if kept > 0:
                    yield Section(number, x, order[:kept], size, head)
                    number += (len(head) + kept) // size
                    head = x[order[kept:]].float()
                else:  # a buffer that does not fill the batch
                    head = torch.cat([head, x[order].float()])

    def _buffers(self, seed: int, epoch: int) -> list[Buffer]:
        chunks = _permutation(seed, epoch, 0, -(-self.n // self.chunk_rows)).numpy()
        sizes = np.minimum(self.n - chunks * self.chunk_rows, self.chunk_rows)
        found, start = [], 0
        for first in range(0, len(chunks), self._at_once):
            rows = int(sizes[first : first + self._at_once].sum())
            found.append(Buffer(start, rows, chunks[first : first + self._at_once]))
            start += rows
        return found

    def _read(self, buffer: Buffer, place: Tensor) -> Tensor:
        into, filled = place.numpy(), 0
        for chunk in buffer.chunks:
            numbers = self._numbers[chunk * self.chunk_rows : (chunk + 1) * self.chunk_rows]
            self._reader.rows(numbers, into[filled : filled + len(numbers)])
            filled += len(numbers)
        return place[:filled]


def _permutation(seed: int, epoch: int, number: int, n: int) -> Tensor:
    """A permutation of n: of an epoch's chunks (number 0), or of the rows of its buffers (from 1 on)."""
    drawn = np.random.SeedSequence([seed % 2**64, epoch, number]).generate_state(1, np.uint64)[0]
    return torch.randperm(n, generator=torch.Generator().manual_seed(int(drawn >> np.uint64(1))))
