"""AuxK: dead features learn to explain what the living ones leave over (Gao et al. 2024, appendix A.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def auxk_loss(pre_activations: Tensor, residual: Tensor, W_dec: Tensor, dead: Tensor, k: int) -> Tensor:
    """Normalised error of the residual's reconstruction from the `k` strongest dead features of each row.

    `||e - ê||² / ||e - mean(e)||²` with e the detached residual; without b_dec, as in the paper. The term is scaled by
    min(n_dead / k, 1), as sparsify does, so that a last dead feature or two do not pull with full weight.

    Args:
        pre_activations: [B, d_sae], before top-K.
        residual: x - reconstruction, [B, d_in]; detached here.
        W_dec: [d_sae, d_in].
        dead: bool [d_sae].
        k: features used a row, at most.

    Returns:
        A scalar; 0 where nothing is dead. Nothing here waits for a GPU.
    """
    weight = (dead.sum() / k).clamp_max(1.0)
    if not dead.is_cuda:  # asking which are dead waits for a GPU; elsewhere it saves the work on those that are not
        alone = dead.nonzero()[:, 0]
        pre_activations, W_dec, dead = pre_activations[:, alone], W_dec[alone], dead[alone]
    k = min(k, W_dec.shape[0])
    target = residual.detach()
    if not k:
        return target.new_zeros(())
    values, indices = pre_activations.masked_fill(~dead, -torch.inf).topk(k, dim=-1, sorted=False)
    values = values.relu().nan_to_num(posinf=0.0)
    guess = nn.functional.embedding_bag(indices, W_dec, mode="sum", per_sample_weights=values)
    spread = (target - target.mean(0)).square().sum().clamp_min(1e-12)
    return weight * (target - guess).square().sum() / spread
