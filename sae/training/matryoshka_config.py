"""Configuration of Matryoshka TopK runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sae.common.errors import UserError
from sae.training.topk_config import TopKConfig


@dataclass(frozen=True)
class MatryoshkaConfig(TopKConfig):
    """A TopK's settings, and the prefixes."""

    architecture: str = "matryoshka"
    prefix_fractions: str = "1/16, 1/8, 1/4, 1/2, 1"
    """Which shares of the features, from the first on, reconstruct by themselves, rising to 1: the loss is the mean
    over them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.prefixes()

    def prefixes(self) -> list[int]:
        """Numbers of features, rising, the last one d_sae. Raises UserError for shares that are not such."""
        try:
            shares = [_number(word) for word in self.prefix_fractions.split(",")]
        except (ValueError, ZeroDivisionError):
            raise UserError(
                f"prefix_fractions {self.prefix_fractions!r} must be numbers with commas between: '1/4, 1/2, 1'"
            ) from None
        found = [round(share * self.d_sae) for share in shares]
        if shares[-1] != 1 or any(a >= b for a, b in pairwise([0, *found])):
            raise UserError(
                f"prefix_fractions {self.prefix_fractions!r} must rise to 1 by at least one of d_sae {self.d_sae} "
                "features each"
            )
        return found

    def model(self) -> dict[str, Any]:
        return {**super().model(), "prefixes": self.prefixes()}


def _number(word: str) -> float:
    over, _, under = word.partition("/")
    return float(over) / float(under or 1)
