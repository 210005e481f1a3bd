"""Rows of an array that may be larger than memory, read a few thousand at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 2048
_NEAR = 16  # unwanted rows between two wanted ones that are read with them rather than skipped
_RUN = 256  # rows that stand together in a sample


class RowReader:
    """Reads rows of `x` [n, d_in]; may be used by several threads.

    A memory map is read through its file: its pages would count as memory of the process, and a page at a time is slow.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.dtype = x.dtype
        self._lock = threading.Lock()
        self._file = None
        root = x
        while isinstance(root.base, np.ndarray):
            root = root.base
        if isinstance(root, np.memmap) and x.flags.c_contiguous and root.filename is not None:
            self._offset = root.offset + x.ctypes.data - root.ctypes.data
            self._file = open(root.filename, "rb", buffering=0)  # noqa: SIM115 (as long as the reader)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._file.close()  # type: ignore[union-attr]

    def span(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Rows `start` to `stop`, as they are stored; into `out`, or new."""
        if out is None:
            out = np.empty((stop - start, self.x.shape[1]), self.dtype)
        if self._file is None or not out.nbytes:
            np.copyto(out, self.x[start:stop])
            return out
        row = self.x.shape[1] * self.dtype.itemsize
        left = memoryview(out.data).cast("B")
        with self._lock:
            self._file.seek(self._offset + start * row)
            while left:
                count = self._file.readinto(left)
                if not count:
                    raise OSError(f"{self._file.name} ends before row {stop}")
                left = left[count:]
        return out

    def rows(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows by ascending number, as they are stored; into `out` [len(numbers), d_in], or new."""
        if out is None:
            out = np.empty((len(numbers), self.x.shape[1]), self.dtype)
        if not len(numbers):
            return out
        ends = np.flatnonzero(np.diff(numbers) > _NEAR) + 1
        place = 0
        for piece in np.split(numbers, ends):
            first, last, into = int(piece[0]), int(piece[-1]) + 1, out[place : place + len(piece)]
            if last - first == len(piece):
                self.span(first, last, into)
            else:
                np.take(self.span(first, last), piece - first, axis=0, out=into, mode="clip")
            place += len(piece)
        return out


class SideBySide:
    """Rows of several arrays [n, d] of one type as rows [n, arrays · d]; nothing is copied before it is asked for."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = list(arrays)
        first = self.arrays[0]
        self.dtype, self.shape = first.dtype, (len(first), sum(array.shape[1] for array in arrays))
        self.ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.concatenate([array[rows] for array in self.arrays], axis=1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


class JoinedReader(RowReader):
    """Reads rows of several arrays, side by side."""

    def __init__(self, readers: Sequence[RowReader]) -> None:
        self._readers = list(readers)
        self.x = SideBySide([reader.x for reader in readers])  # type: ignore[assignment]
        self.dtype = self.x.dtype

    def span(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            out = np.empty((stop - start, self.x.shape[1]), self.dtype)
        place = 0
        for reader in self._readers:
            width = reader.x.shape[1]
            out[:, place : place + width] = reader.span(start, stop)
            place += width
        return out


def reader_of(x: np.ndarray | SideBySide) -> RowReader:
    """The reader that suits rows x [n, d_in]."""
    return JoinedReader([RowReader(array) for array in x.arrays]) if isinstance(x, SideBySide) else RowReader(x)


class RowBlocks:
    """Some rows of an array as float32 tensors on a device, `BLOCK` at a time, as often as they are gone over.

    Args:
        x: [n, d_in], any float type; may be a memory map.
        numbers: ascending row numbers; all by default.
    """

    def __init__(self, x: np.ndarray | RowReader, numbers: np.ndarray | None = None, device: str = "cpu") -> None:
        self._reader = x if isinstance(x, RowReader) else reader_of(x)
        self.numbers = np.arange(len(self._reader.x)) if numbers is None else numbers
        self.device = device
        self.shape = (len(self.numbers), self._reader.x.shape[1])

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Tensor]:
        import torch

        for start in range(0, len(self.numbers), BLOCK):
            rows = self._reader.rows(self.numbers[start : start + BLOCK])
            yield torch.from_numpy(rows).to(self.device).float()


def sample(numbers: np.ndarray, most: int) -> np.ndarray:
    """At most about `most` of some row numbers: runs of 256 at even distances; all of them where they are no more."""
    if len(numbers) <= most:
        return numbers
    runs = max(1, most // _RUN)
    starts = np.arange(runs) * (len(numbers) - _RUN) // max(runs - 1, 1)
    return numbers[(starts[:, None] + np.arange(_RUN)).ravel()] if most >= _RUN else numbers[:most]
