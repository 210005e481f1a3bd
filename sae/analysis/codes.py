"""Sparse feature activations: which features fire on which rows, sorted both ways, memory-mapped."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import replacing
from sae.common.row_reader import sample

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix, csr_matrix

# name in the file -> (safetensors' name of the type, numpy's)
_ARRAYS = {
    "feature_indptr": ("I64", np.int64),
    "feature_rows": ("I32", np.int32),
    "feature_values": ("F32", np.float32),
    "row_indptr": ("I64", np.int64),
    "row_features": ("I32", np.int32),
    "row_values": ("F32", np.float32),
}
_LARGEST_HEADER = 1 << 20
_AT_ONCE = 1 << 23  # entries of a file that are checked at once


class FeatureActivations:
    """The non-zero activations of `d_sae` features on `n_rows` rows, by feature and by row.

    Both copies are read-only. Within a feature the rows ascend; within a row the features ascend. Values may
    be negative (top-K by magnitude); a selected entry whose value is 0 is not an activation and is not kept.

    Attributes:
        feature_indptr: int64 [d_sae + 1]; feature j owns entries feature_indptr[j]:feature_indptr[j + 1] of
            feature_rows (int32 [nnz]) and feature_values (float32 [nnz]).
        row_indptr: int64 [n_rows + 1]; row i owns entries of row_features (int32 [nnz]) and row_values
            (float32 [nnz]) likewise.
    """

    def __init__(
        self,
        feature_indptr: np.ndarray,
        feature_rows: np.ndarray,
        feature_values: np.ndarray,
        row_indptr: np.ndarray,
        row_features: np.ndarray,
        row_values: np.ndarray,
    ) -> None:
        self.feature_indptr = _read_only(feature_indptr)
        self.feature_rows = _read_only(feature_rows)
        self.feature_values = _read_only(feature_values)
        self.row_indptr = _read_only(row_indptr)
        self.row_features = _read_only(row_features)
        self.row_values = _read_only(row_values)
        self.n_rows = len(row_indptr) - 1
        self.d_sae = len(feature_indptr) - 1

    @property
    def nnz(self) -> int:
        """How many activations there are in all."""
        return len(self.feature_values)

    def feature(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows (ascending) on which feature `j` is active, and its values there. Views, no copy.

        Raises:
            UserError: if there is no such feature.
        """
        if not 0 <= j < self.d_sae:
            raise UserError(f"there is no feature {j}: this SAE has features 0 to {self.d_sae - 1}")
        span = slice(self.feature_indptr[j], self.feature_indptr[j + 1])
        return self.feature_rows[span], self.feature_values[span]

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """The features (ascending) that are active on row `i`, and their values. Views, no copy.

        Raises:
            UserError: if there is no such row.
        """
        if not 0 <= i < self.n_rows:
            raise UserError(f"there is no row {i}: these activations have rows 0 to {self.n_rows - 1}")
        span = slice(self.row_indptr[i], self.row_indptr[i + 1])
        return self.row_features[span], self.row_values[span]

    def sample(self, entries: int) -> FeatureActivations:
        """The activations of evenly spread rows that have about `entries` of them; self where there are no more."""
        if self.nnz <= entries:
            return self
        rows = sample(np.arange(self.n_rows), int(entries * self.n_rows / self.nnz))
        lengths = np.diff(self.row_indptr)[rows]
        before = np.cumsum(lengths) - lengths
        chosen = np.repeat(self.row_indptr[rows] - before, lengths) + np.arange(lengths.sum())
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return FeatureActivations.from_rows(indptr, self.row_features[chosen], self.row_values[chosen], self.d_sae)

    def csc(self) -> csc_matrix:
        """The activations as a scipy matrix [n_rows, d_sae] by feature; shares the values and row numbers."""
        from scipy.sparse import csc_matrix

        parts = (self.feature_values, self.feature_rows, self.feature_indptr)
        return csc_matrix(parts, shape=(self.n_rows, self.d_sae), copy=False)

    def csr(self) -> csr_matrix:
        """The activations as a scipy matrix [n_rows, d_sae] by row; shares the values and feature numbers."""
        from scipy.sparse import csr_matrix

        parts = (self.row_values, self.row_features, self.row_indptr)
        return csr_matrix(parts, shape=(self.n_rows, self.d_sae), copy=False)

    @cached_property
    def n_active(self) -> np.ndarray:
        """int64 [d_sae]: on how many rows each feature is active."""
        return _read_only(np.diff(self.feature_indptr))

    @cached_property
    def sums(self) -> np.ndarray:
        """float64 [d_sae]: the sum of each feature's values."""
        return _read_only(self._summed(lambda values: values.astype(np.float64)))

    @cached_property
    def squares(self) -> np.ndarray:
        """float64 [d_sae]: the sum of each feature's squared values."""
        return _read_only(self._summed(lambda values: np.square(values, dtype=np.float64)))

    def _summed(self, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        parts = [np.empty(0)]
        for first, last in feature_ranges(self.feature_indptr):
            bounds = self.feature_indptr[first : last + 1]
            parts.append(segment_sums(of(self.feature_values[bounds[0] : bounds[-1]]), bounds - bounds[0]))
        return np.concatenate(parts)

    @classmethod
    def from_rows(
        cls, row_indptr: np.ndarray, features: np.ndarray, values: np.ndarray, d_sae: int
    ) -> FeatureActivations:
        """Build both copies from entries listed row by row, in any order within a row; zeros are dropped.

        Args:
            row_indptr: int [n_rows + 1], row i owns entries row_indptr[i]:row_indptr[i + 1].
            features, values: [nnz].

        Raises:
            UserError: if the arrays don't fit together, a feature is out of range or twice in one row, or a
                value is not finite.
        """
        from scipy.sparse import csr_matrix

        row_indptr = np.asarray(row_indptr, np.int64)
        features, values = np.asarray(features), np.asarray(values, np.float32)
        if features.shape != values.shape or features.ndim != 1:
            raise UserError(f"features {features.shape} and values {values.shape} must be two lists of one length")
        _check_indptr("row_indptr", row_indptr, len(values))
        _check_range("features", features, d_sae)
        if not np.isfinite(values).all():
            raise UserError("a feature activation is NaN or infinite: nothing was kept")
        kept = values != 0
        if not kept.all():
            before = np.concatenate([[0], np.cumsum(kept)])
            row_indptr, features, values = before[row_indptr], features[kept], values[kept]
        shape = (len(row_indptr) - 1, d_sae)
        by_feature = csr_matrix((values, features.astype(np.int32), row_indptr), shape=shape).tocsc()
        by_row = by_feature.tocsr()  # two transpositions sort both copies in linear time
        twice = (np.diff(by_feature.indices) == 0).nonzero()[0]
        starts = by_feature.indptr[1:-1]
        if len(twice) and not np.isin(twice + 1, starts).all():
            raise UserError("a feature stands twice in one row of the feature activations")
        return cls(
            by_feature.indptr.astype(np.int64),
            by_feature.indices.astype(np.int32, copy=False),
            by_feature.data,
            by_row.indptr.astype(np.int64),
            by_row.indices.astype(np.int32, copy=False),
            by_row.data,
        )

    @classmethod
    def from_top(cls, features: np.ndarray, values: np.ndarray, d_sae: int) -> FeatureActivations:
        """As `from_rows`, from the K selected features of each row and their values, both [n_rows, K]."""
        n_rows, k = np.shape(features)
        indptr = np.arange(n_rows + 1, dtype=np.int64) * k
        return cls.from_rows(indptr, np.asarray(features).reshape(-1), np.asarray(values).reshape(-1), d_sae)

    @classmethod
    def from_dense(cls, array: np.ndarray) -> FeatureActivations:
        """Build from a dense array [n_rows, d_sae]."""
        rows, features = np.nonzero(array)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(array)))])
        return cls.from_rows(indptr, features, array[rows, features], array.shape[1])

    def save(self, path: Path) -> None:
        """Write both copies as safetensors, the 8-byte arrays first so that every array starts aligned."""
        from safetensors.numpy import save_file

        with replacing(Path(path)) as temporary:
            save_file({name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}, temporary)

    @classmethod
    def load(cls, path: Path) -> FeatureActivations:
        """Open a file written by `save`, memory-mapped and checked whole.

        Raises:
            UserError: if the file is missing or cut short, holds other arrays, types or shapes, or an index
                points outside; the message names the file.
        """
        path = Path(path)
        arrays = _map_arrays(path)
        try:
            _check(arrays)
        except UserError as error:
            raise UserError(f"{path.name} can't be used: {error}") from None
        return cls(**arrays)


def feature_ranges(indptr: np.ndarray, entries: int = 2**23) -> Iterator[tuple[int, int]]:
    """(first, last) of runs of segments with at most `entries` entries together, or of one segment that has more."""
    first = 0
    while first < len(indptr) - 1:
        last = int(np.searchsorted(indptr, indptr[first] + entries, "right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def segment_sums(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """[d]: the sum of values[indptr[j]:indptr[j + 1]] for each j; 0 where that is empty."""
    sums = np.zeros(len(indptr) - 1, dtype=values.dtype)
    filled = np.diff(indptr) > 0
    if filled.any():  # reduceat on an empty segment would give its neighbour's first value
        sums[filled] = np.add.reduceat(values, indptr[:-1][filled])
    return sums


def segment_maxima(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """[d]: the largest of values[indptr[j]:indptr[j + 1]] for each j; NaN where that is empty."""
    maxima = np.full(len(indptr) - 1, np.nan)
    filled = np.diff(indptr) > 0
    if filled.any():
        maxima[filled] = np.maximum.reduceat(values, indptr[:-1][filled])
    return maxima


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _map_arrays(path: Path) -> dict[str, Any]:
    """The six arrays of the file as views of one memory map; sizes are checked before anything is touched."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise UserError(f"{path.name} is not a safetensors file")
            header = json.loads(file.read(length))
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} can't be read ({error})") from None
    if not isinstance(header, dict):
        raise UserError(f"{path.name} is not a safetensors file")
    header.pop("__metadata__", None)
    if set(header) != set(_ARRAYS):
        raise UserError(f"{path.name} holds {sorted(header)[:8]}; feature activations are {sorted(_ARRAYS)}")
    arrays = {}
    for name, (kind, dtype) in _ARRAYS.items():
        try:
            (count,), found = header[name]["shape"], header[name]["dtype"]
            start, end = header[name]["data_offsets"]
            fits = (
                all(type(number) is int for number in (count, start, end))
                and 0 <= start <= end <= size - 8 - length
                and end - start == count * np.dtype(dtype).itemsize
            )
        except (KeyError, TypeError, ValueError):
            fits, found = False, kind
        if not fits or found != kind:
            raise UserError(f"{path.name}: {name} has a wrong type, shape or place in the file")
        arrays[name] = np.frombuffer(whole, dtype, count, 8 + length + start)
    return arrays


def _check(arrays: dict[str, np.ndarray]) -> None:
    nnz = {len(arrays[name]) for name in ("feature_rows", "feature_values", "row_features", "row_values")}
    if len(nnz) != 1:
        raise UserError("its arrays have different lengths")
    for name in ("feature_indptr", "row_indptr"):
        _check_indptr(name, arrays[name], next(iter(nnz)))
    n_rows, d_sae = len(arrays["row_indptr"]) - 1, len(arrays["feature_indptr"]) - 1
    _check_range("feature_rows", arrays["feature_rows"], n_rows)
    _check_range("row_features", arrays["row_features"], d_sae)
    for name, other, size in (("feature", "row_features", d_sae), ("row", "feature_rows", n_rows)):
        counts = np.zeros(size, np.int64)
        for start in range(0, len(arrays[other]), _AT_ONCE):
            counts += np.bincount(arrays[other][start : start + _AT_ONCE], minlength=size)
        if not np.array_equal(counts, np.diff(arrays[f"{name}_indptr"])):
            raise UserError("its copy by feature and its copy by row disagree")
        indices = arrays["feature_rows" if name == "feature" else "row_features"]
        steps = np.diff(indices) > 0
        starts = arrays[f"{name}_indptr"][1:-1]
        steps[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # a new segment may start lower
        if not steps.all():
            raise UserError(f"the entries of a {name} are not in ascending order")
        if not np.isfinite(arrays[f"{name}_values"]).all():
            raise UserError("a value is NaN or infinite")


def _check_indptr(name: str, indptr: np.ndarray, nnz: int) -> None:
    if indptr.ndim != 1 or len(indptr) == 0 or indptr[0] != 0 or indptr[-1] != nnz or (np.diff(indptr) < 0).any():
        raise UserError(f"{name} must rise from 0 to the number of activations, {nnz:,}")


def _check_range(name: str, indices: np.ndarray, size: int) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= size):
        wrong = indices[(indices < 0) | (indices >= size)][0]
        raise UserError(f"{name} holds {wrong}, outside 0 to {size - 1}")
