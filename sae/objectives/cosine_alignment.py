"""Cosine alignment: sparse binary codes from two cosine losses.

After "Sparsity beyond TopK: A Novel Cosine Loss for Sparse Binary Representations" (2024, withdrawn; its full text is
not public: docs/cosine.md says what is known of it and what is our reading). With x a row, a its N logits,
s = sigmoid(a / T) their strengths, b the code that is decoded, m the K-hot mask of the K largest logits:

    L = mean_i 1 - cos(x_i, dec(b_i))  +  alpha · mean_i 1 - cos(s_i, m_i)

The mask is a target without gradient. Outside of it the second loss pushes every strength down in proportion to itself,
so a gradient reaches all N features; it does not fix the number of bits that are on.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOSSES = ("cosine", "mse", "l1")
TARGETS = ("binary", "masked")
ROUNDINGS = ("pass_through", "soft", "zero_gradient", "gumbel", "annealed", "topk", "topk_values")


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos of each row, [B], for [B, d] and [B, d]; 1 where a row is 0."""
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    return 1 - (a * b).sum(-1) / norms.clamp_min(1e-8)


def topk_mask(logits: Tensor, k: int) -> Tensor:
    """1 at the K largest logits of each row, 0 elsewhere, [B, N]; without gradient.

    Of the logits and not of the strengths, which in float32 saturate at 1 and tie.
    """
    indices = logits.detach().topk(k, dim=-1, sorted=False).indices
    return torch.zeros_like(logits).scatter_(-1, indices, 1.0)


def reconstruction_loss(kind: str, x: Tensor, guess: Tensor) -> Tensor:
    """Mean over rows of 1 - cos, of ‖x - x̂‖² / ‖x‖² (`mse`), or of ‖x - x̂‖₁ / ‖x‖₁ (`l1`)."""
    if kind == "cosine":
        return cosine_distance(x, guess).mean()
    power = 2 if kind == "mse" else 1
    error = (x - guess).abs().pow(power).sum(-1)
    return (error / x.abs().pow(power).sum(-1).clamp_min(1e-8)).mean()


def sparsity_loss(kind: str, strengths: Tensor, mask: Tensor, k: int, target: str = "binary") -> Tensor:
    """How far the strengths [B, N] are from their K strongest: mean over rows of 1 - cos, or of a sum over N / K.

    Args:
        mask: of `topk_mask`.
        target: `binary` compares with the mask, `masked` with the strengths inside of it (no gradient through either).
    """
    wanted = mask if target == "binary" else (strengths * mask).detach()
    if kind == "cosine":
        return cosine_distance(strengths, wanted).mean()
    # A mean over N would make the gradient N times smaller: a smaller alpha under another name.
    return (strengths - wanted).abs().pow(2 if kind == "mse" else 1).sum(-1).mean() / k


def code_in_training(
    rounding: str, logits: Tensor, mask: Tensor, temperature: float, noise_temperature: float, noise: Tensor | None
) -> Tensor:
    """What is decoded in training, [B, N].

    - `pass_through`: 1[s > 0.5]; backwards as if it were s.
    - `soft`: s itself; rounded only in evaluation.
    - `zero_gradient`: 1[s > 0.5], without gradient.
    - `gumbel`: rounded y = sigmoid((a + noise) / noise_temperature), backwards as if it were y.
    - `annealed`: sigmoid(a / noise_temperature), whose temperature falls.
    - `topk`: the mask; backwards as if it were s inside of it, nothing outside: hard TopK clipping.
    - `topk_values`: s inside the mask.

    Args:
        noise: logistic, [B, N]; for `gumbel` alone.
    """
    if rounding in ("gumbel", "annealed"):
        y = torch.sigmoid((logits if noise is None else logits + noise) / noise_temperature)
        return _pass_through(y, (y > 0.5).to(y.dtype)) if rounding == "gumbel" else y
    s = torch.sigmoid(logits / temperature)
    if rounding == "soft":
        return s
    if rounding == "topk":
        return _pass_through(s * mask, mask)
    if rounding == "topk_values":
        return s * mask
    hard = (s > 0.5).to(s.dtype)
    return hard.detach() if rounding == "zero_gradient" else _pass_through(s, hard)


def _pass_through(soft: Tensor, hard: Tensor) -> Tensor:
    """`hard`, backwards as if it were `soft`."""
    return _PassThrough.apply(soft, hard)


class _PassThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, soft: Tensor, hard: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
