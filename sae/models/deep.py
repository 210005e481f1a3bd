"""TopK with a deeper encoder or decoder: residual layers before the features and after them.

    h = x - b_dec        h <- h + σ(h @ A + a) @ C  for each further layer of the encoder
    f = TopK(h @ W_enc + b_enc)        g = f @ W_dec
    g <- g + σ(g @ A + a) @ C  for each further layer of the decoder        x̂ = g + b_dec

With C = 0 it is a TopK, and that is where training starts. A feature's row of `W_dec` is what it writes before the
further layers of the decoder.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sae.common.errors import UserError
from sae.models.topk import TopK

NONLINEARITIES = {"relu": torch.relu, "gelu": nn.functional.gelu, "identity": lambda h: h}
MOST_LAYERS = 3


class Residual(nn.Module):
    """`h + σ(h @ A + a) @ C` of h [n, d]; A, C [d, d], a [d]."""

    def __init__(self, d: int, nonlinearity: str) -> None:
        super().__init__()
        self.A, self.a, self.C = (nn.Parameter(torch.zeros(shape)) for shape in ((d, d), (d,), (d, d)))
        self._bend = NONLINEARITIES[nonlinearity]

    def forward(self, h: Tensor) -> Tensor:
        return h + self._bend(torch.addmm(self.a, h, self.A)) @ self.C


class DeepTopK(TopK):
    """Args:
    encoder_layers, decoder_layers: 1 to 3; with 1 there is nothing but `W_enc`, or `W_dec`.
    nonlinearity: σ, `relu`, `gelu` or `identity`.
    """

    architecture = "deep-topk"
    shared: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        selection: str = "signed",
        encoder_layers: int = 1,
        decoder_layers: int = 1,
        nonlinearity: str = "gelu",
        inhibition: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(d_in, d_sae, k, selection, inhibition)
        if nonlinearity not in NONLINEARITIES:
            raise UserError(f"nonlinearity {nonlinearity!r} is not known: take one of {', '.join(NONLINEARITIES)}")
        for name, layers in (("encoder_layers", encoder_layers), ("decoder_layers", decoder_layers)):
            if not 1 <= layers <= MOST_LAYERS:
                raise UserError(f"{name} {layers} must lie between 1 and {MOST_LAYERS}")
        self.nonlinearity = nonlinearity
        self.encoder = nn.Sequential(*(Residual(d_in, nonlinearity) for _ in range(encoder_layers - 1)))
        self.decoder = nn.Sequential(*(Residual(d_in, nonlinearity) for _ in range(decoder_layers - 1)))

    def hyperparameters(self) -> dict[str, Any]:
        layers = {"encoder_layers": len(self.encoder) + 1, "decoder_layers": len(self.decoder) + 1}
        return {**super().hyperparameters(), **layers, "nonlinearity": self.nonlinearity}

    def pre_activations(self, x: Tensor) -> Tensor:
        return torch.addmm(self.b_enc, self.encoder(x - self.b_dec), self.W_enc)

    def written(self, total: Tensor) -> Tensor:
        return super().written(self.decoder(total))

    def decode(self, features: Tensor) -> Tensor:
        return self.written(features @ self.W_dec)
