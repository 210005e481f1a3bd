"""Sparse binary codes: a linear encoder, a sigmoid, rounding, a linear decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.models.base import SAE

CODES = ("threshold", "topk", "topk_values")


class Binary(SAE):
    """`encode(x)` is a code of bits of `s = sigmoid((x @ W_enc + b_enc) / temperature)`.

    Args:
        k: the number of bits a row that training aimed at.
        code: `threshold`: on where s > 0.5, as many as there are. `topk`: the K largest, whatever their strength.
            `topk_values`: those with their strengths, so not bits.
    """

    architecture = "binary"

    def __init__(self, d_in: int, d_sae: int, k: int, code: str = "threshold", temperature: float = 1.0) -> None:
        super().__init__(d_in, d_sae)
        if not 1 <= k <= d_sae:
            raise UserError(f"k {k} must lie between 1 and d_sae {d_sae}")
        if code not in CODES:
            raise UserError(f"code {code!r} is not known: take one of {', '.join(CODES)}")
        if temperature <= 0:
            raise UserError(f"temperature {temperature} must be above 0")
        self.k, self.code, self.temperature = k, code, temperature

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "k": self.k, "code": self.code, "temperature": self.temperature}

    def pre_activations(self, x: Tensor) -> Tensor:
        return torch.addmm(self.b_enc, x, self.W_enc)

    def strengths(self, x: Tensor) -> Tensor:
        """Before rounding, [n, d_sae], between 0 and 1."""
        return torch.sigmoid(self.pre_activations(x) / self.temperature)

    def encode(self, x: Tensor) -> Tensor:
        pre = self.pre_activations(x)
        strengths = torch.sigmoid(pre / self.temperature)
        if self.code == "threshold":
            return (strengths > 0.5).to(pre.dtype)
        mask = self.topk_code(pre)
        return mask if self.code == "topk" else mask * strengths

    def topk_code(self, pre_activations: Tensor) -> Tensor:
        """Exactly K bits: 1 at the K largest pre-activations of each row, [n, d_sae]."""
        indices = pre_activations.topk(self.k, dim=-1, sorted=False).indices
        return torch.zeros_like(pre_activations).scatter_(-1, indices, 1.0)
