"""What puts activations into units of unit decoder directions, as other tools expect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from sae.models.base import SAE


def decoder_norms(model: SAE) -> Tensor:
    """Norms of the decoder's rows [d_sae]; 1 for rows of zeros, and for all where they are 1 within 1e-5."""
    norm = model.W_dec.detach().norm(dim=1)
    norm = torch.where(norm == 0, torch.ones_like(norm), norm)
    return torch.ones_like(norm) if bool(((norm - 1).abs() <= 1e-5).all()) else norm
