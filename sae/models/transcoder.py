"""Transcoder: reads one slice and reconstructs another, as a layer after it or the next thought (Dunefsky et al. 2024,
arXiv 2406.11944), with the skip connection of Paulo et al. 2025 (arXiv 2501.18823) where it is wanted.

    f = TopK(x @ W_enc + b_enc)        ŷ = f @ W_dec + b_dec (+ x @ W_skip)
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sae.models.base import SparseRows
from sae.models.topk import TopK


class Transcoder(TopK):
    """`W_dec` and `b_dec` are of the rows y that it writes, so b_dec is not taken off the rows x that it reads.

    Args:
        skip: whether there is `W_skip` [d_in, d_in], what a linear map of x adds.
    """

    architecture = "transcoder"
    transcodes = True
    shared: ClassVar[tuple[str, ...]] = ("W_skip",)

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        selection: str = "signed",
        skip: bool = False,
        inhibition: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(d_in, d_sae, k, selection, inhibition)
        self.W_skip = nn.Parameter(torch.zeros(d_in, d_in)) if skip else None

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "skip": self.W_skip is not None}

    def pre_activations(self, x: Tensor) -> Tensor:
        return torch.addmm(self.b_enc, x, self.W_enc)

    def past_features(self, x: Tensor) -> Tensor | float:
        """What reaches y without a feature, [n, d_in]; 0 without a skip connection."""
        return 0.0 if self.W_skip is None else x @ self.W_skip

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.past_features(x)

    def sparse_forward(self, x: Tensor, codes: SparseRows) -> Tensor:
        return super().sparse_forward(x, codes) + self.past_features(x)
