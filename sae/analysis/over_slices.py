"""One SAE's features over other slices than the one it was trained on: the same encoder, other layers and positions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.common.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from sae.models.base import SAE

Place = tuple[int | None, int | None]


@dataclass(frozen=True)
class OverSlices:
    """What every feature of an SAE does on several slices, of the same examples in the same order.

    Attributes:
        places: layer and position of each slice.
        n: rows of each slice.
        n_active: int64 [slices, d_sae], rows on which the feature is active.
        sums: float64 [slices, d_sae], of |activation|.
        correlation: float64 [slices, d_sae], Pearson's r over the examples with the feature's activation on the home
            slice, zeros included; NaN where it is the same on all rows of either.
        ev: [slices], explained variance of the SAE's reconstruction around the slice's own mean.
    """

    places: tuple[Place, ...]
    n: int
    n_active: np.ndarray
    sums: np.ndarray
    correlation: np.ndarray
    ev: np.ndarray

    def feature(self, feature: int) -> pd.DataFrame:
        """A line a slice: layer, position, n, n_active, active (share), mean_activation (of |activation| over active
        rows, NaN without one), correlation, ev (of the whole SAE there, NaN for a transcoder).

        Raises:
            UserError: if there is no such feature.
        """
        if not 0 <= feature < self.n_active.shape[1]:
            raise UserError(f"there is no feature {feature}: this SAE has features 0 to {self.n_active.shape[1] - 1}")
        active, sums = self.n_active[:, feature], self.sums[:, feature]
        mean = np.divide(sums, active, out=np.full(len(active), np.nan), where=active > 0)
        return pd.DataFrame(
            {
                "layer": [layer for layer, _ in self.places],
                "position": [position for _, position in self.places],
                "n": self.n,
                "n_active": active,
                "active": active / self.n,
                "mean_activation": mean,
                "correlation": self.correlation[:, feature],
                "ev": self.ev,
            }
        )


def over_slices(model: SAE, home: np.ndarray, slices: Iterable[tuple[Place, np.ndarray]]) -> OverSlices:
    """Encode the rows of several slices with one SAE, and compare each feature with itself on its home slice.

    Off its home slice the encoder reads rows it was not trained on: `ev` says how far it explains them at all.

    Args:
        home: [n, d_in], rows of the slice that the SAE was trained on.
        slices: layer and position, and rows [n, d_in] of the same examples in the same order; read one at a time.

    Raises:
        UserError: if a slice has other rows than `home`, or there is none.
    """
    own, _ = _encoded(model, home)
    places: list[Place] = []
    counts, sums, correlations, explained = [], [], [], []
    for place, rows in slices:
        if np.shape(rows) != np.shape(home):
            raise UserError(f"slice {place} has rows {np.shape(rows)}, the home slice {np.shape(home)}")
        codes, ev = _encoded(model, rows)
        places.append(place)
        counts.append(np.asarray(codes.getnnz(axis=0), np.int64))
        sums.append(np.asarray(abs(codes).sum(axis=0), np.float64).ravel())
        correlations.append(_correlation(own, codes))
        explained.append(ev)
    if not places:
        raise UserError("there is no slice to compare with")
    return OverSlices(
        tuple(places), len(home), np.array(counts), np.array(sums), np.array(correlations), np.array(explained)
    )


def _encoded(model: SAE, rows: np.ndarray) -> tuple[csr_matrix, float]:
    """Feature activations as a matrix [n, d_sae] in float64, and the explained variance around the rows' own mean."""
    import torch
    from scipy.sparse import csr_matrix

    device = model.W_enc.device
    x = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)).to(device)
    with torch.no_grad():
        codes = model.sparse_encode(x)
        guess = model.sparse_forward(x, codes).cpu().numpy().astype(np.float64)
    exact = np.asarray(rows, np.float64)
    spread = float(((exact - exact.mean(axis=0)) ** 2).sum())
    known = spread > 0 and not model.transcodes  # a transcoder writes other rows than these
    ev = 1 - float(((exact - guess) ** 2).sum()) / spread if known else float("nan")
    values = codes.values.cpu().numpy().astype(np.float64)
    indices = (codes.features.cpu().numpy(), codes.indptr.cpu().numpy())
    return csr_matrix((values, *indices), shape=(len(rows), model.d_sae)), ev


def _correlation(one: csr_matrix, other: csr_matrix) -> np.ndarray:
    """Pearson's r [d] of equal columns of two sparse matrices [n, d], zeros included."""
    n = one.shape[0]

    def total(matrix: csr_matrix) -> np.ndarray:
        return np.asarray(matrix.sum(axis=0), np.float64).ravel()

    a, b = total(one), total(other)
    across = total(one.multiply(other)) - a * b / n
    spread = [total(m.multiply(m)) - s * s / n for m, s in ((one, a), (other, b))]
    scale = np.sqrt(np.clip(spread[0], 0, None) * np.clip(spread[1], 0, None))
    # What rounding leaves of a constant column is no spread.
    varies = (spread[0] > 1e-9 * total(one.multiply(one))) & (spread[1] > 1e-9 * total(other.multiply(other)))
    return np.divide(across, scale, out=np.full(len(a), np.nan), where=varies & (scale > 0))
