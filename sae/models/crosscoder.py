"""Crosscoder: one dictionary that reads and reconstructs several layers at once (Lindsey et al. 2024, "Sparse
crosscoders for cross-layer features and model diffing"), here with TopK for the sparsity.

    f = TopK(Σ_l (x_l - b_l) @ W_enc_l + b_enc)        x̂_l = f @ W_dec_l + b_l

The rows of its layers stand side by side, and so do its weights: as arithmetic it is a TopK on rows [n, layers · d].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.models.topk import TopK


class Crosscoder(TopK):
    """Args:
    d_in: of all layers together.
    layers: which these are, in the order in which their rows stand.

    `layer_spread` [layers] is the root mean squared norm of each layer's training rows less their mean: in its units
    what features write into different layers can be compared.
    """

    architecture = "crosscoder"
    several_layers = True
    layer_spread: Tensor

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        layers: Sequence[int],
        selection: str = "signed",
        inhibition: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(d_in, d_sae, k, selection, inhibition)
        if not layers or d_in % len(layers) or len(set(layers)) < len(layers):
            raise UserError(f"a crosscoder of layers {list(layers)} can't have rows of {d_in} dimensions")
        self.layers = [int(layer) for layer in layers]
        self.register_buffer("layer_spread", torch.ones(len(layers)))

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "layers": self.layers}
