"""Initial weights, seeded on the CPU so that every device starts from the same ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sae.models.topk import TopK
from sae.training.config import TrainingConfig


def initial_model(config: TrainingConfig, d_in: int, mean: Tensor) -> TopK:
    """A TopK with the initial weights that `config` asks for.

    Args:
        mean: of the training rows, [d_in].
    """
    generator = torch.Generator().manual_seed(config.seed)

    def uniform(bound: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * bound

    model = TopK(d_in, config.d_sae, config.k, config.selection)
    with torch.no_grad():
        if config.encoder_init == "linear":
            # PyTorch's default for nn.Linear: uniform in +-1/sqrt(fan_in), weights and bias alike.
            model.W_enc.copy_(uniform(1 / math.sqrt(d_in), d_in, config.d_sae))
            model.b_enc.copy_(uniform(1 / math.sqrt(d_in), config.d_sae))
            model.W_dec.copy_(uniform(1 / math.sqrt(config.d_sae), config.d_sae, d_in))
        else:
            model.W_dec.copy_(torch.randn(config.d_sae, d_in, generator=generator))
        model.W_dec.div_(model.W_dec.norm(dim=1, keepdim=True))
        if config.encoder_init == "tied":
            model.W_enc.copy_(model.W_dec.T)
        if config.decoder_bias and config.b_dec_init == "mean":
            model.b_dec.copy_(mean)
        elif config.decoder_bias and config.b_dec_init == "linear":
            model.b_dec.copy_(uniform(1 / math.sqrt(config.d_sae), d_in))
    return model
