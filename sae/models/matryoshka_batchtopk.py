"""Matryoshka BatchTopK: a BatchTopK whose first features alone are a smaller SAE (Bussmann et al. 2025, arXiv
2503.17547). It encodes and decodes as a BatchTopK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sae.models.batchtopk import BatchTopK
from sae.models.matryoshka import checked_prefixes


class MatryoshkaBatchTopK(BatchTopK):
    """Args:
    prefixes: numbers of features, rising, the last one d_sae.
    """

    architecture = "matryoshka-batchtopk"

    def __init__(
        self, d_in: int, d_sae: int, k: int, prefixes: Sequence[int], inhibition: dict[str, Any] | None = None
    ) -> None:
        super().__init__(d_in, d_sae, k, inhibition)
        self.prefixes = checked_prefixes(prefixes, d_sae)

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "prefixes": self.prefixes}
