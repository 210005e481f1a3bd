"""From weights for rows as training sees them to weights for raw rows."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.common.precision import exact
from sae.models.base import SAE


@torch.no_grad()
def to_raw_rows(model: SAE, shift: Tensor, scale: float, subtracts_b_dec: bool = True) -> None:
    """Change a model in place that was trained on x' = (x - shift) · scale and encodes `(x - b_dec) @ W_enc + b_enc`.

    Features that are smaller by `scale`, and biases and thresholds taken out of the scaling, reconstruct x just as the
    trained weights reconstruct x'. Who wins a top-K, is above a threshold or is damped by a neighbour does not change.

    Args:
        subtracts_b_dec: whether training subtracted b_dec before encoding; where not, `b_dec @ W_enc` is folded into
            b_enc.
    """
    model.b_dec.copy_(shift + model.b_dec / scale)
    for name in model.activation_units:
        getattr(model, name).div_(scale)
    if not subtracts_b_dec:
        unsubtracted = model.b_dec - shift
        model.b_enc.add_((exact(unsubtracted) @ exact(model.W_enc)).float().to(model.b_enc.device))
