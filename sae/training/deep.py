"""TopK SAEs with a deeper encoder or decoder in training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sae.common.precision import exact
from sae.models.base import SAE
from sae.models.deep import DeepTopK, Residual
from sae.models.topk import TopK
from sae.training.deep_config import DeepTopKConfig
from sae.training.kernels.sparse_products import decoded
from sae.training.rows import Rows
from sae.training.topk_autograd import TopKAutogradTrainer
from sae.training.topk_config import TopKConfig


class DeepTopKTrainer(TopKAutogradTrainer):
    """As a TopK's, and from a TopK's start: each further layer begins as the identity. AuxK's features are decoded by
    `W_dec` alone.
    """

    model: DeepTopK
    config: DeepTopKConfig

    def __init__(self, config: DeepTopKConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, principal)
        generator = torch.Generator().manual_seed(config.seed)
        with torch.no_grad():
            for layer in _layers(self.model):
                # PyTorch's default for a linear layer; C stays 0
                for weight in (layer.A, layer.a):
                    weight.copy_((torch.rand(weight.shape, generator=generator) * 2 - 1) / math.sqrt(self.d_in))

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> DeepTopK:
        assert isinstance(config, DeepTopKConfig)
        return DeepTopK(d_in, **{**config.model(), **config.layers()})

    def pre_activations(self, x: Tensor) -> Tensor:
        return self.model.pre_activations(x)

    def error(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        guess = self.model.written(decoded(code, self.model.W_dec))
        return (x - guess).square().mean(), guess

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> SAE:
        stored = super().finished_model(member)
        assert isinstance(stored, DeepTopK)
        for layer in _layers(stored):  # h is smaller by the scale
            layer.A.mul_(self.scale)
            layer.C.div_(self.scale)
        return as_topk(stored, self.config) if self.config.linear else stored


def _layers(model: DeepTopK) -> list[Residual]:
    return [layer for layer in (*model.encoder, *model.decoder) if isinstance(layer, Residual)]


@torch.no_grad()
def as_topk(model: DeepTopK, config: DeepTopKConfig) -> TopK:
    """The TopK that a model with the identity for σ equals."""
    found = TopK(model.d_in, **config.model()).to(model.b_dec.device)
    found.load_state_dict(model.state_dict(), strict=False)
    read, read_offset = _product(model.encoder, model.d_in)
    write, write_offset = _product(model.decoder, model.d_in)
    W_enc, W_dec, b_dec = exact(model.W_enc), exact(model.W_dec), exact(model.b_dec)
    read, read_offset, write, write_offset = (
        part.to(W_enc.device) for part in (read, read_offset, write, write_offset)
    )
    found.W_enc.copy_(read @ W_enc)
    found.W_dec.copy_(W_dec @ write)
    found.b_dec.copy_(b_dec + write_offset)
    # it takes off the decoder's offset too, which the layers did not
    found.b_enc.copy_(exact(model.b_enc) + (read_offset + write_offset @ read) @ W_enc)
    return found


def _product(layers: nn.Sequential, d: int) -> tuple[Tensor, Tensor]:
    """(M [d, d], v [d]) with which the layers make h @ M + v of h, in float64."""
    M, v = torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
    for layer in layers:
        assert isinstance(layer, Residual)
        A, a, C = (weight.double().cpu() for weight in (layer.A, layer.a, layer.C))
        M, v = M + M @ A @ C, v + (v @ A + a) @ C
    return M, v
