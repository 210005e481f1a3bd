"""Entries of sparse codes as they come: in memory, or past some size in a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

LARGEST_IN_MEMORY = 2**28  # bytes


class Entries:
    """A list of numbers of one type that grows at its end.

    Args:
        folder: where a file without a name takes them once they are more than 256 MB; None keeps all in memory.
    """

    def __init__(self, dtype: Any, folder: Path | None = None) -> None:
        self._dtype, self._folder = np.dtype(dtype), folder
        self._blocks: list[np.ndarray] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def append(self, block: np.ndarray) -> None:
        self._blocks.append(np.ascontiguousarray(block, self._dtype))
        self._bytes += self._blocks[-1].nbytes
        if self._folder is None or self._bytes <= LARGEST_IN_MEMORY:
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (lives as long as what maps it)
        for waiting in self._blocks:
            self._file.write(waiting.data)
        self._blocks = []

    def all(self) -> np.ndarray:
        """Everything appended, as one array; a memory map where there is a file."""
        if self._file is not None:
            self._file.flush()
            return np.memmap(self._file, self._dtype, "r")
        return np.concatenate(self._blocks) if self._blocks else np.empty(0, self._dtype)
