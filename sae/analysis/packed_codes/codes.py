"""Sparse binary codes as sorted index lists, as packed bits, and on the disk as either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import replacing

FORMAT = "binary-codes-1"
#: In which a file keeps them: `lists` are the smaller ones up to about N / 16 set bits of N.
FORMS = ("lists", "bits")
_ROWS_AT_ONCE = 4096


class BinaryCodes:
    """n codes of `n_bits` bits each: for every code the numbers of its set bits, ascending.

    Attributes:
        indptr: int64 [n + 1]; code i owns indices[indptr[i]:indptr[i + 1]].
        indices: [all set bits], uint16 where `n_bits` is at most 65,536, else uint32.
        n_bits: N, set or not.
    """

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, n_bits: int) -> None:
        self.indptr, self.indices, self.n_bits = indptr, indices, n_bits

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __repr__(self) -> str:
        return f"BinaryCodes({len(self):,} codes of {self.n_bits:,} bits, {len(self.indices):,} set)"

    @property
    def counts(self) -> np.ndarray:
        """int64 [n]: set bits of each code."""
        return np.diff(self.indptr)

    def code(self, i: int) -> np.ndarray:
        """The set bits of code i, ascending. A view."""
        return self.indices[self.indptr[i] : self.indptr[i + 1]]

    def take(self, rows: np.ndarray) -> BinaryCodes:
        """The codes of `rows`, in their order."""
        rows = np.asarray(rows, np.int64)
        counts = self.counts[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], counts)
        return BinaryCodes(indptr, self.indices[places], self.n_bits)

    def bits(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """uint8 [stop - start, ceil(n_bits / 8)], packed as `numpy.packbits` does (the first bit is the highest)."""
        stop = len(self) if stop is None else stop
        packed = np.zeros((stop - start, -(-self.n_bits // 8)), np.uint8)
        for first in range(start, stop, _ROWS_AT_ONCE):
            last = min(first + _ROWS_AT_ONCE, stop)
            dense = np.zeros((last - first, self.n_bits), bool)
            rows = np.repeat(np.arange(last - first), self.counts[first:last])
            dense[rows, self.indices[self.indptr[first] : self.indptr[last]]] = True
            packed[first - start : last - start] = np.packbits(dense, axis=1)
        return packed

    @classmethod
    def from_lists(cls, indptr: np.ndarray, indices: np.ndarray, n_bits: int) -> BinaryCodes:
        """From lists that ascend strictly within each code, such as `row_indptr` and `row_features` of
        `FeatureActivations`.

        Raises:
            UserError: if the arrays don't fit together, a bit is out of range, or a list does not ascend.
        """
        if not 1 <= n_bits <= 1 << 32:
            raise UserError(f"codes of {n_bits:,} bits can't be kept: from 1 to {1 << 32:,} are possible")
        indptr, indices = np.asarray(indptr, np.int64), np.asarray(indices)
        if indptr.ndim != 1 or indices.ndim != 1 or not len(indptr) or indptr[0] or (np.diff(indptr) < 0).any():
            raise UserError("the lists of binary codes must be two flat arrays, the first rising from 0")
        if indptr[-1] != len(indices):
            raise UserError(f"the lists of binary codes end at {indptr[-1]:,} but hold {len(indices):,} set bits")
        if len(indices) and not (indices.dtype.kind in "iu" and indices.min() >= 0 and indices.max() < n_bits):
            raise UserError(f"a code has a bit outside 0 to {n_bits - 1:,}")
        rising = indices[1:] > indices[:-1]
        starts = indptr[1:-1]
        rising[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # a new code may start lower
        if not rising.all():
            raise UserError("the set bits of a code are not in ascending order, each once")
        return cls(indptr, indices.astype(np.uint16 if n_bits <= 1 << 16 else np.uint32), n_bits)

    @classmethod
    def from_dense(cls, dense: np.ndarray) -> BinaryCodes:
        """From an array [n, n_bits]; whatever is not zero is a set bit."""
        rows, indices = np.nonzero(dense)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
        return cls.from_lists(indptr, indices, dense.shape[1])

    @classmethod
    def from_bits(cls, packed: np.ndarray, n_bits: int) -> BinaryCodes:
        """From packed bits, uint8 [n, ceil(n_bits / 8)] as `bits` gives them.

        Raises:
            UserError: for another type or width, or if a bit beyond `n_bits` is set.
        """
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-n_bits // 8):
            raise UserError(f"packed codes of {n_bits:,} bits must be uint8 of {-(-n_bits // 8):,} columns")
        if n_bits % 8 and (packed[:, -1] & (0xFF >> n_bits % 8)).any():
            raise UserError(f"a packed code has a bit set beyond its {n_bits:,}")
        counts, parts = [np.zeros(1, np.int64)], [np.empty(0, np.int64)]
        for first in range(0, len(packed), _ROWS_AT_ONCE):
            dense = np.unpackbits(packed[first : first + _ROWS_AT_ONCE], axis=1, count=n_bits)
            rows, indices = np.nonzero(dense)
            counts.append(np.bincount(rows, minlength=len(dense)))
            parts.append(indices.astype(np.uint16 if n_bits <= 1 << 16 else np.uint32))
        return cls.from_lists(np.cumsum(np.concatenate(counts)), np.concatenate(parts[1:] or parts), n_bits)

    def save(self, path: Path, form: str = "lists") -> None:
        """Write safetensors: `indptr` and `indices`, or `bits`; metadata `format` and `n_bits`.

        Raises:
            UserError: for a form that is not in `FORMS`.
        """
        from safetensors.numpy import save_file

        if form not in FORMS:
            raise UserError(f"binary codes are kept as {' or '.join(FORMS)}, not as {form!r}")
        tensors = {"bits": self.bits()} if form == "bits" else {"indptr": self.indptr, "indices": self.indices}
        with replacing(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={"format": FORMAT, "n_bits": str(self.n_bits)})

    @classmethod
    def load(cls, path: Path) -> BinaryCodes:
        """Read a file that `save` wrote, checked whole.

        Raises:
            UserError: if it is missing, damaged or something else; the message names the file.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        try:
            with safe_open(path, framework="numpy") as file:
                said = file.metadata() or {}
                if said.get("format") != FORMAT or not said.get("n_bits", "").isdecimal():
                    raise UserError(f"its metadata does not say {FORMAT!r} and a number of bits")
                found: dict[str, Any] = {key: file.get_tensor(key) for key in list(file.keys())[:3]}
            n_bits = int(said["n_bits"])
            if set(found) == {"bits"}:
                return cls.from_bits(found["bits"], n_bits)
            if set(found) == {"indptr", "indices"} and found["indptr"].dtype == np.int64:
                return cls.from_lists(found["indptr"], found["indices"], n_bits)
            raise UserError("it holds other arrays than indptr and indices, or bits")
        except FileNotFoundError:
            raise UserError(f"{path} is missing") from None
        except (UserError, SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path.name} can't be read as binary codes: {error}") from None
