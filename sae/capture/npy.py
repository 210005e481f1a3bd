"""`.npy` files: opened only after their claims were held against their size, and written piece by piece."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from tokenize import TokenError

import numpy as np

from sae.common.errors import UserError


def open_npy(path: Path) -> np.ndarray:
    """The array in `path`, memory-mapped and read-only; nothing is unpickled.

    Raises:
        UserError: if it is not an npy file, holds objects, or says that it is of another size than it is.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
            else:
                raise UserError(f"{path} is an npy file of version {version}, which can't be read: save it again")
            offset = file.tell()
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UserError(f"{path} can't be opened ({error.strerror or error})") from None
    except (ValueError, EOFError, SyntaxError, TypeError, MemoryError, RecursionError, TokenError) as error:
        raise UserError(f"{path} is not an npy file that can be read ({error})") from None
    if dtype.hasobject:
        raise UserError(f"{path} holds Python objects, which are never unpickled: save numbers")
    # Python's whole numbers do not overflow, whatever the header claims.
    needed = math.prod(int(axis) for axis in shape) * dtype.itemsize
    if offset + needed != size:
        raise UserError(f"{path} says it holds {needed:,} bytes of shape {shape}, but has {size - offset:,}")
    if needed == 0:
        # An empty file can't be mapped.
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


class NpyWriter:
    """Rows of a C-ordered array, written anywhere in a file whose room on the disk is reserved from the start.

    Writing with `pwrite` instead of a memory map: a full disk is then an error in one line, not a killed process.

    Args:
        shape: (n_rows, d_in).
        dtype: of the file.
        resume: go on with a file that is there.

    Raises:
        UserError: if the disk has too little room, or the file to go on with is of another shape.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: np.dtype, resume: bool = False) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._row_bytes = shape[1] * self.dtype.itemsize
        if resume:
            there = open_npy(path)
            if there.shape != shape or there.dtype != self.dtype:
                raise UserError(f"{path} has shape {there.shape}, expected {shape}")
            self._file = open(path, "r+b")  # noqa: SIM115 (closed in `close`)
            self._offset = os.path.getsize(path) - shape[0] * self._row_bytes
            return
        needed = shape[0] * self._row_bytes
        check_room(path.parent, needed)
        self._file = open(path, "w+b")  # noqa: SIM115
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._offset = self._file.tell()
        self._file.flush()
        self._reserve(self._offset + needed)

    def _reserve(self, size: int) -> None:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, size)
            self._file.truncate(size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                self._file.close()
                raise UserError(f"{self.path} can't be made ({error.strerror}): {size:,} bytes are needed") from None
            self._file.truncate(size)

    def write(self, row: int, values: np.ndarray) -> None:
        """Write `values` [n, d_in], already of the file's dtype, from row `row` on."""
        try:
            self._file.seek(self._offset + row * self._row_bytes)
            self._file.write(np.ascontiguousarray(values).data)
        except OSError as error:
            raise UserError(f"{self.path} can't be written ({error.strerror}): free some room and try again") from None

    def flush(self) -> None:
        """Everything written so far is on the disk afterwards."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def check_room(folder: Path, needed: int) -> None:
    """Raises UserError if the disk under `folder` has less than `needed` bytes and a tenth more free."""
    import shutil

    free = shutil.disk_usage(folder).free
    if free < needed * 1.1 + (16 << 20):
        raise UserError(
            f"{needed / 1e9:,.1f} GB are needed and {free / 1e9:,.1f} GB are free on the disk of {folder}: "
            "take fewer layers, problems or positions, or float16"
        )
