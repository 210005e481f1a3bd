"""BatchTopK: K features a row on average, chosen over the batch in training and by one threshold afterwards (Bussmann
et al. 2024, arXiv 2412.06410).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.models.base import SAE


class BatchTopK(SAE):
    """`encode` keeps positive pre-activations above `threshold`, whatever other rows there are; `kept_of_batch` is what
    training keeps.
    """

    architecture = "batchtopk"
    activation_units: ClassVar[tuple[str, ...]] = ("b_enc", "threshold")
    threshold: Tensor
    """Scalar, of all features."""

    def __init__(self, d_in: int, d_sae: int, k: int, inhibition: dict[str, Any] | None = None) -> None:
        super().__init__(d_in, d_sae, inhibition)
        if not 1 <= k <= d_sae:
            raise UserError(f"k {k} must lie between 1 and d_sae {d_sae}")
        self.k = k
        self.register_buffer("threshold", torch.zeros(()))

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "k": self.k}

    def encode(self, x: Tensor) -> Tensor:
        pre = self.pre_activations(x)
        return self.inhibited(pre.relu() * (pre > self.threshold))

    def kept_of_batch(self, pre_activations: Tensor, k: int | None = None) -> Tensor:
        """Of a batch [n, d_sae], the n · k largest pre-activations that are positive; 0 elsewhere.

        Args:
            k: features a row; by default the model's.
        """
        positive = pre_activations.relu()
        flat = positive.flatten()
        n = min((k or self.k) * len(positive), len(flat))
        which = flat.detach().topk(n, sorted=False).indices
        return torch.zeros_like(flat).scatter(0, which, flat[which]).view_as(positive)
