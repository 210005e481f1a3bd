"""JumpReLU: a pre-activation counts above its feature's threshold and is 0 below (Rajamanoharan et al. 2024, arXiv
2407.14435): `encode(x) = a · 1[a > threshold]` with `a = ReLU((x - b_dec) @ W_enc + b_enc)`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sae.models.base import SAE


class JumpReLU(SAE):
    """A `threshold` for each feature [d_sae]; below 0 it acts as 0 does."""

    architecture = "jumprelu"
    activation_units: ClassVar[tuple[str, ...]] = ("b_enc", "threshold")

    def __init__(self, d_in: int, d_sae: int, inhibition: dict[str, Any] | None = None) -> None:
        super().__init__(d_in, d_sae, inhibition)
        self.threshold = nn.Parameter(torch.zeros(d_sae))

    def encode(self, x: Tensor) -> Tensor:
        pre = self.pre_activations(x)
        return self.inhibited(pre.relu() * (pre > self.threshold))
