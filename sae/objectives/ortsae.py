"""OrtSAE's penalty (arXiv 2509.22033): decoder rows away from the most alike other row of a random chunk.

    mean over chunks of mean_i (max_{j ≠ i in the chunk} cos(w_i, w_j))²

The paper's abstract says what is penalised and that it is done in chunks; the square, the chunk of 8,192, the weight
0.25 and every fifth step are our reading of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sae.objectives.mechanism import Mechanism, Seen, scalars
from sae.objectives.similarity import BLOCK_ENTRIES, Found, measure_of, with_gradient


class OrtSAE(Mechanism):
    """`weight` times the penalty, at every `every`-th step.

    Args:
        chunk: features of a chunk, which are drawn anew each time; more than d_sae means all of them.
        seed: of the chunks.
    """

    def __init__(self, weight: float, chunk: int, every: int, seed: int) -> None:
        self.weight, self.chunk, self.every, self.seed = weight, chunk, every, seed
        self.counts = scalars(0, 0)  # last value, times

    def penalty(self, seen: Seen, W_dec: Tensor) -> Tensor | None:
        if seen.step % self.every:
            return None
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen.step)
        order = torch.randperm(len(W_dec), generator=generator).to(W_dec.device)
        chunks = order.split(self.chunk)
        value = torch.stack([_penalty(W_dec, chunk) for chunk in chunks]).mean()
        self.counts[0] = float(value.detach())
        self.counts[1] += 1
        return self.weight * value

    def figures(self) -> dict[str, float]:
        return {"ortsae_loss": float(self.counts[0])}

    def summary(self) -> dict[str, float]:
        return {"ortsae_steps": float(self.counts[1])}

    def held(self) -> dict[str, Tensor]:
        return {"counts": self.counts}


def _penalty(W_dec: Tensor, chunk: Tensor) -> Tensor:
    """Of one chunk of features; the most alike others are found without gradients, by blocks."""
    if len(chunk) < 2:
        return W_dec.new_zeros(())
    rows = W_dec.detach()[chunk]
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    size = max(1, BLOCK_ENTRIES // len(chunk))
    cosines, others = [], []
    for first in range(0, len(chunk), size):
        block = rows[first : first + size] @ rows.T
        block.diagonal(first).fill_(-2.0)
        most = block.max(1)
        cosines.append(most.values)
        others.append(most.indices)
    measure = measure_of("dec_cos", W_dec)
    found = Found(chunk, chunk[torch.cat(others)], torch.cat(cosines), 0.0, 0.0, len(W_dec), measure)
    return with_gradient("dec_cos", W_dec, found).square().mean()
