"""The step on a GPU: the members' products are batched, and nothing in a step waits for the device.

A step of a small SAE is bound by launches, not by arithmetic, so members of one shape are trained as one batch of
matrices: dense products, one top-k of the largest K masked by rank, one fused Adam. `sae.training.cuda_graph` records
the step once and replays it. It also runs on a CPU, where the tests hold its arithmetic against autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sae.objectives.auxk import auxk
from sae.training.kernels.product import batched_product
from sae.training.rows import Rows
from sae.training.topk import PARAMETERS, TopKTrainer
from sae.training.topk_config import TopKConfig
from sae.training.trainer import BETA1, BETA2, EPSILON


class BatchedTrainer(TopKTrainer):
    """Trains TopK SAEs that differ in K, together, on any device."""

    def __init__(self, configs: Sequence[TopKConfig], rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(configs, rows, principal)
        ks = torch.tensor([config.k for config in configs])
        self._most = int(ks.max())
        self._kept = (torch.arange(self._most) < ks[:, None, None]).to(self.device)  # [G, 1, most]: by rank
        # What changes from step to step stands on the device, where a recorded step reads it.
        self._rate = torch.zeros((), device=self.device)
        self._seen = torch.zeros((), dtype=torch.int64, device=self.device)
        learned = [name for name in PARAMETERS if name != "b_dec" or self.config.decoder_bias]
        self._optimizer = torch.optim.Adam(
            [self.weights[name] for name in learned],
            lr=self._rate,
            betas=(BETA1, BETA2),
            eps=EPSILON,
            fused=True,
            capturable=self.device.type == "cuda",
        )
        self._steps = [torch.zeros((), device=self.device) for _ in learned]
        for name, count in zip(learned, self._steps, strict=True):
            self._optimizer.state[self.weights[name]] = {
                "step": count,
                "exp_avg": self.first[name],
                "exp_avg_sq": self.second[name],
            }
        self._step: Callable[[Tensor, bool], Tensor] = self.compute
        if self.device.type == "cuda":
            from sae.training.cuda_graph import Recorded

            self._step = Recorded(self.compute)

    def step(self, x: Tensor) -> Tensor:
        self._rate.fill_(self.learning_rate(self.step_number))
        # Nothing can be dead before the window has passed, and after it only the device knows: no need to ask it.
        with_auxk = bool(self.config.auxk_coefficient) and self.rows_seen >= self.auxk_window
        self.step_number += 1
        losses = self._step(x, with_auxk)
        self.rows_seen += len(x)
        return losses

    @torch.no_grad()
    def compute(self, x: Tensor, with_auxk: bool) -> Tensor:
        """The work of a step, all on the device; returns the mean squared error per element [G]."""
        config, weights = self.config, self.weights
        W_enc, b_enc, W_dec, b_dec = (weights[name] for name in PARAMETERS)
        x = self.scaled(x)
        seen = x - b_dec[:, None] if config.subtract_b_dec else x.expand(len(self.configs), -1, -1)
        pre = self._product(seen, W_enc.mT) + b_enc[:, None]
        ranked = pre.abs() if config.selection == "magnitude" else pre
        best, indices = ranked.topk(self._most, dim=-1)
        chosen = torch.zeros_like(pre).scatter_(-1, indices, self._kept.expand_as(best).to(pre.dtype))
        if config.selection == "signed":
            chosen = chosen * (pre > 0)
        codes = pre * chosen
        error = self._product(codes, W_dec) + b_dec[:, None] - x
        slope = error * (2 / (x.numel() * self.unit))
        by_W_dec = self._product(codes.mT, slope)
        by_pre = self._product(slope, W_dec.mT) * chosen
        if with_auxk:
            dead = self._seen - self.last_fired >= self.auxk_window
            term = auxk(pre, -error, W_dec, dead, self.auxk_k)
            weight = config.auxk_coefficient * self.variance / self.unit
            by_pre = by_pre + weight * term.pre_activations
            by_W_dec = by_W_dec + weight * term.W_dec
        by_b_enc = by_pre.sum(1)
        by_b_dec = slope.sum(1)
        if config.subtract_b_dec:
            by_b_dec = by_b_dec - (by_b_enc[:, None] @ W_enc)[:, 0]
        unit_norm = config.decoder_norm == "every_step"
        if unit_norm and config.project_gradient:
            by_W_dec = by_W_dec - (by_W_dec * W_dec).sum(-1, keepdim=True) * W_dec
        gradients = (self._product(by_pre.mT, seen), by_b_enc, by_W_dec, by_b_dec)
        for name, gradient in zip(PARAMETERS, gradients, strict=True):
            weights[name].grad = gradient
        self._optimizer.step()
        if unit_norm:
            W_dec.div_(W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-12))
        self._seen += x.shape[0]
        fired = (codes != 0).any(1)
        self.last_fired.copy_(torch.where(fired, self._seen, self.last_fired))
        return error.square().mean((1, 2)) / self.scale**2

    def restore(self, member: int, state: dict[str, Tensor]) -> None:
        super().restore(member, state)
        self._seen.fill_(self.rows_seen)
        for count in self._steps:
            count.fill_(self.step_number)

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        return batched_product(a, b, self.config.precision)
