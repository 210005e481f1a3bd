"""Feature activations in 8 bits each: one scale a feature, kept once like the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BITS = 8


@dataclass(frozen=True)
class ValueQuantiser:
    """Uniform quantisation by feature: of values >= 0 to 0 ... 255, else to -127 ... 127.

    A value within a feature's range comes back with an error of half a step at most; one beyond it is cut to the
    range's end.

    Attributes:
        step: float32 [d_sae], what one level is worth.
        signed: whether values may be negative.
    """

    step: np.ndarray
    signed: bool

    @classmethod
    def fit(cls, features: np.ndarray, values: np.ndarray, d_sae: int) -> ValueQuantiser:
        """The range of each feature from the entries (feature, value) [nnz] of training rows.

        A feature that is never active on them has the range of the largest.
        """
        signed = bool((values < 0).any())
        largest = np.zeros(d_sae)
        np.maximum.at(largest, features, np.abs(values))
        whole = largest.max(initial=0.0) or 1.0
        levels = 127 if signed else 255
        return cls((np.where(largest > 0, largest, whole) / levels).astype(np.float32), signed)

    def encode(self, features: np.ndarray, values: np.ndarray) -> np.ndarray:
        """int8 or uint8 [nnz]."""
        low, high, kind = (-127, 127, np.int8) if self.signed else (0, 255, np.uint8)
        return np.clip(np.rint(values / self.step[features]), low, high).astype(kind)

    def decode(self, features: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """float32 [nnz]."""
        return levels.astype(np.float32) * self.step[features]
