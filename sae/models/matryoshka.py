"""Matryoshka TopK: a TopK whose first features alone are a smaller SAE (Bussmann et al. 2025, arXiv 2503.17547, with a
TopK of each row where they have one of the batch).

It encodes and decodes as a TopK; training sees reconstructions from the first m_1 < m_2 < ... < m_G = d_sae features.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from sae.common.errors import UserError
from sae.models.topk import TopK


class Matryoshka(TopK):
    """Args:
    prefixes: numbers of features, rising, the last one d_sae.
    """

    architecture = "matryoshka"

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        prefixes: Sequence[int],
        selection: str = "signed",
        inhibition: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(d_in, d_sae, k, selection, inhibition)
        self.prefixes = checked_prefixes(prefixes, d_sae)

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "prefixes": self.prefixes}


def checked_prefixes(prefixes: Sequence[int], d_sae: int) -> list[int]:
    """Numbers of features that rise and end at d_sae. Raises UserError for others."""
    found = [int(prefix) for prefix in prefixes]
    if not found or any(a >= b for a, b in pairwise([0, *found])) or found[-1] != d_sae:
        raise UserError(f"prefixes {found} must rise and end at d_sae {d_sae}")
    return found
