"""Feature activations written to their file without ever being whole in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sae.analysis.codes import _ARRAYS, FeatureActivations, _map_arrays, feature_ranges
from sae.common.errors import UserError
from sae.common.files import replacing

IN_MEMORY = 2**23  # entries that are sorted in memory: some 250 MB at the most
AT_ONCE = 2**22  # entries that are sorted at once otherwise


def write_codes(
    path: Path, row_indptr: np.ndarray, features: np.ndarray, values: np.ndarray, d_sae: int
) -> FeatureActivations:
    """Write codes as `FeatureActivations.save` does, and open them.

    Args:
        row_indptr, features, values: by row, as `FeatureActivations.from_rows` takes them; may be memory maps. Where
            there are more than 8 million entries, features must ascend within a row and no value may be 0.

    Raises:
        UserError: if the arrays don't fit together, a feature is out of range or twice in one row, or a value is not
            finite.
    """
    if len(values) <= IN_MEMORY:
        codes = FeatureActivations.from_rows(row_indptr, features, values, d_sae)
        codes.save(path)
        return codes
    counts = _counted(row_indptr, features, values, d_sae)
    with replacing(path) as temporary:
        arrays = _laid_out(temporary, {"feature": d_sae + 1, "row": len(row_indptr)}, len(values))
        np.cumsum(counts, out=arrays["feature_indptr"][1:])
        arrays["row_indptr"][:] = row_indptr
        following = arrays["feature_indptr"][:-1].copy()
        for first, last in _row_ranges(row_indptr):
            _place(arrays, following, row_indptr, features, values, first, last)
        for array in arrays.values():
            array.flush()
    return FeatureActivations(**_map_arrays(path))


def _place(
    arrays: dict[str, np.memmap],
    following: np.ndarray,
    row_indptr: np.ndarray,
    features: np.ndarray,
    values: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Rows first to last into both copies. `following` [d_sae]: where each feature's next entry belongs; moved on."""
    from scipy.sparse import csr_matrix

    span = slice(row_indptr[first], row_indptr[last])
    shape = (last - first, len(following))
    part = csr_matrix((values[span], features[span], row_indptr[first : last + 1] - row_indptr[first]), shape=shape)
    by_feature = part.tocsc()
    arrays["row_features"][span] = part.indices
    arrays["row_values"][span] = part.data
    here = np.diff(by_feature.indptr).astype(np.int64)
    place = np.repeat(following - by_feature.indptr[:-1], here) + np.arange(by_feature.nnz)
    arrays["feature_rows"][place] = by_feature.indices + first
    arrays["feature_values"][place] = by_feature.data
    following += here


def _counted(row_indptr: np.ndarray, features: np.ndarray, values: np.ndarray, d_sae: int) -> np.ndarray:
    """int64 [d_sae]: entries of each feature; raises UserError for entries that can't be."""
    if features.shape != values.shape or row_indptr[0] != 0 or row_indptr[-1] != len(values):
        raise UserError("the features, values and rows of the feature activations don't fit together")
    counts = np.zeros(d_sae, np.int64)
    for first, last in _row_ranges(row_indptr):
        span = slice(row_indptr[first], row_indptr[last])
        here, sizes = np.asarray(features[span]), np.asarray(values[span])
        if len(here) and (here.min() < 0 or here.max() >= d_sae):
            raise UserError(f"features holds one outside 0 to {d_sae - 1}")
        if not np.isfinite(sizes).all():
            raise UserError("a feature activation is NaN or infinite: nothing was kept")
        if not sizes.all():
            raise UserError("a feature activation is 0: only what is not can be kept")
        rising = np.diff(here) > 0
        starts = row_indptr[first + 1 : last] - row_indptr[first]
        rising[starts[(starts > 0) & (starts < len(here))] - 1] = True  # a new row may start lower
        if not rising.all():
            raise UserError("the features of a row are not in ascending order, each once")
        counts += np.bincount(here, minlength=d_sae)
    return counts


def _row_ranges(row_indptr: np.ndarray) -> Iterator[tuple[int, int]]:
    yield from feature_ranges(row_indptr, AT_ONCE)


def _laid_out(path: Path, lengths: dict[str, int], nnz: int) -> dict[str, np.memmap]:
    """A safetensors file of the right size, and its arrays as writable memory maps; the 8-byte ones first."""
    header: dict[str, dict] = {}
    place = 0
    for name in sorted(_ARRAYS, key=lambda name: -np.dtype(_ARRAYS[name][1]).itemsize):
        kind, dtype = _ARRAYS[name]
        size = lengths[name.removesuffix("_indptr")] if name.endswith("_indptr") else nnz
        end = place + size * np.dtype(dtype).itemsize
        header[name] = {"dtype": kind, "shape": [size], "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(start + place)
    return {
        name: np.memmap(path, _ARRAYS[name][1], "r+", start + said["data_offsets"][0], tuple(said["shape"]))
        for name, said in header.items()
    }
