"""ReLU: the standard SAE (Bricken et al. 2023), `encode(x) = ReLU((x - b_dec) @ W_enc + b_enc)`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sae.models.base import SAE


class Standard(SAE):
    """`apply_b_dec_to_input=False` is the variant that encodes `x @ W_enc + b_enc` (an option of SAELens' files)."""

    architecture = "standard"

    def __init__(
        self, d_in: int, d_sae: int, apply_b_dec_to_input: bool = True, inhibition: dict[str, Any] | None = None
    ) -> None:
        super().__init__(d_in, d_sae, inhibition)
        self.apply_b_dec_to_input = apply_b_dec_to_input

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "apply_b_dec_to_input": self.apply_b_dec_to_input}

    def pre_activations(self, x: Tensor) -> Tensor:
        if self.apply_b_dec_to_input:
            return super().pre_activations(x)
        return x @ self.W_enc + self.b_enc

    def encode(self, x: Tensor) -> Tensor:
        return self.inhibited(self.pre_activations(x).relu())
