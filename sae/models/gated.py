"""Gated: one linear map says which features are active, the same map rescaled says how strongly (Rajamanoharan et al.
2024, arXiv 2404.16014).

    π = (x - b_dec) @ W_enc        f = 1[π + b_enc > 0] · ReLU(exp(r_mag) · π + b_mag)
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sae.models.base import SAE


class Gated(SAE):
    """`b_enc` is the gate's bias (SAELens' `b_gate`): `pre_activations` are the gate's, so they say who is active.
    `r_mag` and `b_mag` are [d_sae].
    """

    architecture = "gated"
    activation_units: ClassVar[tuple[str, ...]] = ("b_enc", "b_mag")

    def __init__(self, d_in: int, d_sae: int, inhibition: dict[str, Any] | None = None) -> None:
        super().__init__(d_in, d_sae, inhibition)
        self.r_mag = nn.Parameter(torch.zeros(d_sae))
        self.b_mag = nn.Parameter(torch.zeros(d_sae))

    def encode(self, x: Tensor) -> Tensor:
        return self.code_of((x - self.b_dec) @ self.W_enc)

    def code_of(self, projected: Tensor) -> Tensor:
        """Feature activations [n, d_sae] from π of the same shape."""
        magnitudes = (self.r_mag.exp() * projected + self.b_mag).relu()
        return self.inhibited(magnitudes * (projected + self.b_enc > 0))
