"""JumpReLU SAEs in training: thresholds learn from what lies close to them (straight-through estimates)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.models.jumprelu import JumpReLU
from sae.training.autograd import Outcome
from sae.training.jumprelu_config import JumpReLUConfig
from sae.training.kernels.sparse_products import decoded, encoded
from sae.training.penalty import PenaltyTrainer, initial_model
from sae.training.rows import Rows


class JumpReLUTrainer(PenaltyTrainer):
    """Minimises, as means over rows, ‖x - x̂‖² + λ Σ 1[a > θ].

    With K(u) = 1 for |u| < 1/2 and ε the bandwidth, the estimates of the slopes by θ are

        of a · 1[a > θ]   -(θ / ε) K((a - θ) / ε)        of 1[a > θ]   -(1 / ε) K((a - θ) / ε)

    (Rajamanoharan et al. 2024). Both are of the pre-activations a, so that those just below a threshold count as well;
    the slope by a is 1[a > θ]. θ itself is the parameter, kept at 0 or above: the logarithm that the paper has in its
    place moves by the rate alone, which in short runs leaves a small θ where it was.
    """

    model: JumpReLU

    def __init__(self, config: JumpReLUConfig, rows: Rows, principal: Tensor | None = None) -> None:
        model = initial_model(config, rows)
        assert isinstance(model, JumpReLU)
        torch.nn.init.constant_(model.threshold, config.initial_threshold)
        super().__init__(config, rows, model)
        self.config = config

    @property
    def l0_coefficient(self) -> float:
        """At the present step."""
        return self.config.l0_coefficient * self.pressure

    def forward(self, x: Tensor) -> Outcome:
        model, bandwidth = self.model, self.config.bandwidth
        pre = encoded(x, model.b_dec, model.W_enc, model.b_enc)
        near = (pre - model.threshold).abs() < bandwidth / 2
        code = model.inhibited(_Jump.apply(pre, model.threshold, near, bandwidth))
        guess = decoded(code, model.W_dec, model.b_dec, also=near)
        active = _Step.apply(pre, model.threshold, near, bandwidth)
        loss = (x - guess).square().sum(1).mean() + self.l0_coefficient * active.sum(1).mean()
        return Outcome(loss, guess, code)

    def after_update(self, x: Tensor, outcome: Outcome) -> None:
        self.model.threshold.clamp_(min=0.0)
        super().after_update(x, outcome)

    def figures(self, member: int) -> dict[str, float]:
        mean = float(self.model.threshold.detach().mean())
        return {**super().figures(member), "l0_coefficient": self.l0_coefficient, "threshold": mean}


class _Jump(torch.autograd.Function):
    """a · 1[a > θ] of a [B, d_sae], θ [d_sae]; `near` is where the kernel is 1."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, near: Tensor, bandwidth: float) -> Tensor:
        above = pre > threshold
        ctx.save_for_backward(above, threshold, near)
        ctx.bandwidth = bandwidth
        return pre * above

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        above, threshold, near = ctx.saved_tensors
        return gradients[0] * above, -(threshold / ctx.bandwidth) * (gradients[0] * near).sum(0), None, None


class _Step(torch.autograd.Function):
    """1[a > θ], arguments as of `_Jump`."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, near: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(near)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (near,) = ctx.saved_tensors
        return None, -(gradients[0] * near).sum(0) / ctx.bandwidth, None, None
