"""How alike the living features of two SAEs are, a block of rows at a time: decoder cosines, or correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from sae.analysis.codes import FeatureActivations


class Similarities(Protocol):
    """Similarities in [-1, 1] of `n` features with `m` others."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def rows(self, which: np.ndarray) -> np.ndarray:
        """float32 [len(which), m], a new array: those of some of the first ones."""

    def pairs(self, lines: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """float64 [len(lines)]: of single pairs, so that a value doesn't depend on how the work was cut in blocks."""


class DecoderCosines:
    """Cosines of decoder rows.

    Args:
        W_a: [n, d_in]. W_b: [m, d_in].
        unsigned: take |cosine|: for SAEs that select by magnitude, whose activations have either sign.

    Raises:
        UserError: if the dimensions differ, or a row has no length.
    """

    def __init__(self, W_a: np.ndarray, W_b: np.ndarray, unsigned: bool = False) -> None:
        if W_a.ndim != 2 or W_b.ndim != 2 or W_a.shape[1] != W_b.shape[1]:
            raise UserError(f"decoders {W_a.shape} and {W_b.shape} have no common d_in: their directions can't be held "
                            "against each other")  # fmt: skip
        self.a, self.b, self.unsigned = unit_rows(W_a), unit_rows(W_b), unsigned

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.a), len(self.b)

    def rows(self, which: np.ndarray) -> np.ndarray:
        found = self.a[which] @ self.b.T
        return np.abs(found, out=found) if self.unsigned else found

    def pairs(self, lines: np.ndarray, columns: np.ndarray) -> np.ndarray:
        found = np.einsum("ij,ij->i", self.a[lines], self.b[columns], dtype=np.float64)
        return np.clip(np.abs(found) if self.unsigned else found, -1.0, 1.0)


class ActivationCorrelations:
    """Pearson's r of activations over the rows that both were measured on, zeros included.

    r_ij = (G_ij - S_i S_j / n) / sqrt((Q_i - S_i^2 / n) (Q_j - S_j^2 / n)), with G the sums of products, S the sums
    and Q the sums of squares. What is the same on every row has no r; it counts as 0.

    Args:
        one, other: of the same rows in the same order. living, others: which features, in order.
        unsigned: take |r|.

    Raises:
        UserError: if the numbers of rows differ.
    """

    def __init__(
        self,
        one: FeatureActivations,
        other: FeatureActivations,
        living: np.ndarray,
        others: np.ndarray,
        unsigned: bool = False,
    ) -> None:
        if one.n_rows != other.n_rows:
            raise UserError(
                f"activations of {one.n_rows:,} and of {other.n_rows:,} rows can't be correlated: they are not of the "
                "same rows"
            )
        self.n, self.unsigned = one.n_rows, unsigned
        self.a, self.sums_a, self.spread_a = _standing(one, living)
        b, self.sums_b, self.spread_b = _standing(other, others)
        self.b, self.turned = b, b.T.tocsr()

    @property
    def shape(self) -> tuple[int, int]:
        return self.a.shape[0], self.b.shape[0]

    def rows(self, which: np.ndarray) -> np.ndarray:
        found = (self.a[which] @ self.turned).toarray()
        found -= np.outer(self.sums_a[which] / self.n, self.sums_b)
        found /= self.spread_a[which, None]
        found /= self.spread_b
        np.nan_to_num(found, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        found = found.astype(np.float32)
        return np.abs(found, out=found) if self.unsigned else found

    def pairs(self, lines: np.ndarray, columns: np.ndarray) -> np.ndarray:
        products = np.asarray(self.a[lines].multiply(self.b[columns]).sum(axis=1)).ravel()
        products = products - self.sums_a[lines] * self.sums_b[columns] / self.n
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.nan_to_num(products / (self.spread_a[lines] * self.spread_b[columns]), nan=0.0, posinf=0.0)
        return np.clip(np.abs(found) if self.unsigned else found, -1.0, 1.0)


def unit_rows(W: np.ndarray) -> np.ndarray:
    """float32 rows of length 1. Raises UserError if one has no length."""
    W = np.asarray(W, np.float32)
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise UserError("a decoder row of a living feature is zero: it has no direction to be matched by")
    return W / norms


def _standing(codes: FeatureActivations, features: np.ndarray) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
    """[features, n_rows] in float64, and by feature the sum and the root of the sum of squares about the mean."""
    from scipy.sparse import csr_matrix

    parts = (codes.feature_values.astype(np.float64), codes.feature_rows, codes.feature_indptr)
    chosen = csr_matrix(parts, shape=(codes.d_sae, codes.n_rows))[features]
    about = codes.squares[features] - codes.sums[features] ** 2 / max(codes.n_rows, 1)
    # What is left of a constant is rounding, not spread.
    about = np.where(about > 1e-12 * np.maximum(codes.squares[features], 1e-300), about, np.inf)
    return chosen, codes.sums[features], np.sqrt(about)
