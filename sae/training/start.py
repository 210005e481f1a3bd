"""Initial weights, seeded and computed on the CPU so that every device starts from the same ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sae.common.precision import exact
from sae.models.topk import TopK
from sae.training.config import TrainingConfig

FIT_ROWS = 2048  # training rows that the encoder's scale is fitted on


def initial_model(config: TrainingConfig, x: Tensor, principal: Tensor | None = None) -> TopK:
    """A TopK with the initial weights that `config` asks for, on the CPU.

    Args:
        x: training rows as training sees them, [n, d_in].
        principal: principal directions of the centred rows, [d_in, d_in], columns by falling variance; computed where
            they are needed and not given.
    """
    generator = torch.Generator().manual_seed(config.seed)
    d_in = x.shape[1]
    model = TopK(d_in, config.d_sae, config.k, config.selection)

    def uniform(bound: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * bound

    with torch.no_grad():
        if config.encoder_init == "linear":
            # PyTorch's default for nn.Linear: uniform in +-1/sqrt(fan_in), weights and bias alike.
            model.W_enc.copy_(uniform(1 / math.sqrt(d_in), d_in, config.d_sae))
            model.b_enc.copy_(uniform(1 / math.sqrt(d_in), config.d_sae))
        if config.decoder_init == "linear":
            model.W_dec.copy_(uniform(1 / math.sqrt(config.d_sae), config.d_sae, d_in))
        elif config.decoder_init == "random":
            model.W_dec.copy_(torch.randn(config.d_sae, d_in, generator=generator))
        else:
            model.W_dec.copy_(data_directions(config, x.cpu(), principal, generator))
        model.W_dec.copy_(unit_rows(model.W_dec))
        if config.decoder_bias and config.b_dec_init == "mean":
            model.b_dec.copy_(x.mean(0))
        elif config.decoder_bias and config.b_dec_init == "linear":
            model.b_dec.copy_(uniform(1 / math.sqrt(config.d_sae), d_in))
        if config.encoder_init == "tied":
            model.W_enc.copy_(model.W_dec.T)
            if config.fit_encoder_scale:
                model.W_enc.mul_(_encoder_scale(model, x[:FIT_ROWS].cpu()))
    return model


def data_directions(config: TrainingConfig, x: Tensor, principal: Tensor | None, generator: torch.Generator) -> Tensor:
    """Directions that the data has, [d_sae, d_in]: a dictionary of random directions is won by a few features, and the
    others never learn.

    First come m principal directions, each in both signs (signed top-K can't use one direction for both). Each further
    row is what a random training row leaves over after its K strongest components among those m, so that the
    dictionary starts where K components of PCA stop. Where there are more features than rows, the rest are sums of two
    random rows: the same rows again would be features twice over.
    """
    centred = x - x.mean(0)
    n, d_in = centred.shape
    pairs = min(config.principal_pairs or config.k, config.d_sae // 4, d_in, n - 1)
    if principal is None:
        principal = principal_directions(centred)
    kept = principal[:, :pairs].to(centred.dtype).cpu()
    wanted = config.d_sae - 2 * pairs
    rows = centred[torch.randperm(n, generator=generator)[:wanted]]
    if wanted > n:
        first, second = torch.randint(n, (2, wanted - n), generator=generator)
        rows = torch.cat([rows, centred[first] + centred[second]])
    scores = rows @ kept
    weakest = scores.abs().topk(min(config.k, pairs), dim=1).values[:, -1:] if len(rows) else scores
    rows = rows - (scores * (scores.abs() >= weakest)) @ kept.T
    return torch.cat([kept.T, -kept.T, rows])


def principal_directions(centred: Tensor) -> Tensor:
    """Eigenvectors of the covariance of centred rows [n, d_in], columns by falling variance, float64."""
    rows = exact(centred).cpu()
    return torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1)


def unit_rows(directions: Tensor) -> Tensor:
    return directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _encoder_scale(model: TopK, x: Tensor) -> float:
    """Least-squares factor between the first reconstructions and the rows."""
    guess = model(x) - model.b_dec
    square = float(guess.double().square().sum())
    return float((guess * (x - model.b_dec)).double().sum()) / square if square > 0 else 1.0
