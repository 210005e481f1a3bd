"""AuxK: dead features learn to explain what the living ones leave over (Gao et al. 2024, appendix A.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AuxK(NamedTuple):
    """The term and its gradients: loss [...], by the pre-activations [..., B, d_sae], by W_dec [..., d_sae, d_in]."""

    loss: Tensor
    pre_activations: Tensor
    W_dec: Tensor


def auxk(
    pre_activations: Tensor, residual: Tensor, W_dec: Tensor, dead: Tensor, k: int, spread: Tensor | None = None
) -> AuxK:
    """Normalised error of the residual's reconstruction from the `k` strongest dead features of each row.

    `‖e - ê‖² / ‖e - mean(e)‖²` with e the residual, which is a target only; without b_dec, as in the paper. The term
    is scaled by min(n_dead / k, 1), as sparsify does, so that a last dead feature or two do not pull with full weight.
    Leading dimensions are separate SAEs. Nothing here waits for a GPU; to save work on the CPU, give it the columns
    of dead features alone.

    Args:
        pre_activations: [..., B, d_sae], before top-K.
        residual: x - reconstruction, [..., B, d_in].
        W_dec: [..., d_sae, d_in].
        dead: bool [..., d_sae].
        k: features used a row, at most.
        spread: ‖e - mean(e)‖² [...] where the batch is more than these rows, as it is with several processes.
    """
    weight = (dead.sum(-1) / k).clamp_max(1.0)
    masked = torch.where(dead.unsqueeze(-2), pre_activations, -torch.inf)
    values, indices = masked.topk(min(k, W_dec.shape[-2]), dim=-1, sorted=False)
    used = torch.zeros_like(pre_activations).scatter_(-1, indices, values.clamp_min(0))
    miss = used @ W_dec - residual
    if spread is None:
        spread = (residual - residual.mean(-2, keepdim=True)).square().sum((-1, -2))
    factor = weight / spread.clamp_min(1e-12)
    slope = miss * (2 * factor).unsqueeze(-1).unsqueeze(-1)
    return AuxK(
        factor * miss.square().sum((-1, -2)),
        (slope @ W_dec.transpose(-1, -2)) * (used > 0),
        used.transpose(-1, -2) @ slope,
    )
