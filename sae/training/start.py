"""Initial weights, seeded and computed on the CPU so that every device starts from the same ones."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sae.common.precision import exact
from sae.models.topk import TopK
from sae.training.config import TrainingConfig
from sae.training.rows import Sampled
from sae.training.topk_config import TopKConfig

FIT_ROWS = 2048  # training rows that the encoder's scale is fitted on
PRINCIPAL_ROWS = 65_536


class Centred(Protocol):
    """Rows, as their scaling needs them: `Rows` or a `Side` of them."""

    @property
    def mean(self) -> Tensor: ...
    @property
    def centred_norm(self) -> float: ...


class Side(NamedTuple):
    """One of the slices that stand side by side in rows: float32 [d_in] on the device, and a norm as in `Rows`."""

    mean: Tensor
    centred_norm: float


def side(rows: Sampled, number: int) -> Side:
    """What `scaling` needs of slice `number` of those that stand side by side in the rows."""
    part = rows.moments.parts[number]
    return Side(part.mean.float().to(rows.device), part.centred_norm)


def scaling(config: TrainingConfig, rows: Centred) -> tuple[Tensor, float]:
    """(shift [d_in], scale): training sees rows as `(x - shift) * scale`, centred and of root mean squared norm 1.

    Without `input_scaling` they are (0, 1); where a configuration is not `centred`, the shift is 0.
    """
    if not config.input_scaling:
        return torch.zeros_like(rows.mean), 1.0
    if config.centred:
        return rows.mean, 1 / rows.centred_norm if rows.centred_norm > 0 else 1.0
    norm = math.sqrt(rows.centred_norm**2 + float(exact(rows.mean).square().sum()))
    return torch.zeros_like(rows.mean), 1 / norm if norm > 0 else 1.0


def initial_model(config: TopKConfig, rows: Sampled, principal: Tensor | None = None) -> TopK:
    """A TopK with the initial weights that `config` asks for, on the CPU, for rows as training sees them.

    Args:
        principal: principal directions of the centred rows, [d_in, d_in], columns by falling variance; computed where
            they are needed and not given.
    """
    generator = torch.Generator().manual_seed(config.seed)
    d_in = rows.d_in
    shift, scale = scaling(config, rows)
    shift = shift.cpu()
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
            model.W_dec.copy_(data_directions(config, rows, principal, generator))
        model.W_dec.copy_(unit_rows(model.W_dec))
        if config.decoder_bias and config.b_dec_init == "mean":
            model.b_dec.copy_((rows.mean.cpu() - shift) * scale)
        elif config.decoder_bias and config.b_dec_init == "linear":
            model.b_dec.copy_(uniform(1 / math.sqrt(config.d_sae), d_in))
        if config.encoder_init == "tied":
            model.W_enc.copy_(model.W_dec.T)
            if config.fit_encoder_scale:
                first = rows.take(torch.arange(min(FIT_ROWS, rows.n)))
                model.W_enc.mul_(_encoder_scale(model, (first - shift) * scale))
    return model


def data_directions(config: TopKConfig, rows: Sampled, principal: Tensor | None, generator: torch.Generator) -> Tensor:
    """Directions that the data has, [d_sae, d_in]: a dictionary of random directions is won by a few features, and the
    others never learn.

    First come m principal directions, each in both signs (signed top-K can't use one direction for both). Each further
    row is what a random training row leaves over after its K strongest components among those m, so that the
    dictionary starts where K components of PCA stop. Where there are more features than rows, the rest are sums of two
    random rows: the same rows again would be features twice over.
    """
    pairs = min(config.principal_pairs or config.k, config.d_sae // 4, rows.d_in, rows.n - 1)
    if principal is None:
        principal = principal_directions(rows)
    kept = principal[:, :pairs].float().cpu()
    drawn = drawn_rows(rows, config.d_sae - 2 * pairs, generator)
    scores = drawn @ kept
    weakest = scores.abs().topk(min(config.k, pairs), dim=1).values[:, -1:] if len(drawn) else scores
    drawn = drawn - (scores * (scores.abs() >= weakest)) @ kept.T
    return torch.cat([kept.T, -kept.T, drawn])


def drawn_rows(rows: Sampled, wanted: int, generator: torch.Generator) -> Tensor:
    """Random training rows less their mean, [wanted, d_in]; where there are not so many, the rest are sums of two."""
    mean = rows.mean.cpu()
    drawn = rows.take(torch.randperm(rows.n, generator=generator)[:wanted]) - mean
    if wanted > rows.n:
        first, second = torch.randint(rows.n, (2, wanted - rows.n), generator=generator)
        drawn = torch.cat([drawn, rows.take(first) + rows.take(second) - 2 * mean])
    return drawn


def principal_directions(rows: Sampled) -> Tensor:
    """Eigenvectors of the covariance of the rows (at most 65,536 of them), [d_in, d_in], columns by falling variance,
    float64.
    """
    covariance = torch.zeros(rows.d_in, rows.d_in, dtype=torch.float64)
    for block in rows.blocks(PRINCIPAL_ROWS):
        centred = exact(block - rows.mean).cpu()
        covariance.addmm_(centred.T, centred)
    return torch.linalg.eigh(covariance).eigenvectors.flip(1)


def unit_rows(directions: Tensor) -> Tensor:
    """`directions` [n, d], each row divided by its Euclidean norm; a row of zeros stays one."""
    return directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _encoder_scale(model: TopK, x: Tensor) -> float:
    """Least-squares factor between the first reconstructions and the rows."""
    guess = model(x) - model.b_dec
    square = float(guess.double().square().sum())
    return float((guess * (x - model.b_dec)).double().sum()) / square if square > 0 else 1.0
