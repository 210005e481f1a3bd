"""The step on a GPU: the members' products are batched, and nothing in a step waits for the device.

A step of a small SAE is bound by launches, not by arithmetic, so members of one shape are trained as one batch of
matrices: dense products, one top-k of the largest K masked by rank, one fused Adam. `sae.training.cuda_graph` records
the step once and replays it. It also runs on a CPU, where the tests hold its arithmetic against autograd.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from sae.objectives.auxk import auxk
from sae.training.cuda_graph import Recorded
from sae.training.kernels.product import batched_product as product
from sae.training.kernels.product import operand, rounding
from sae.training.rows import Rows
from sae.training.topk import PARAMETERS, TopKTrainer
from sae.training.topk_config import TopKConfig
from sae.training.trainer import BETA1, BETA2, EPSILON


class BatchedTrainer(TopKTrainer):
    """Trains TopK SAEs that differ in K, together, on any device."""

    def __init__(self, configs: Sequence[TopKConfig], rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(configs, rows, principal)
        ks = [config.k for config in configs]
        self._most, self._ranked = max(ks), len(set(ks)) > 1
        # What winners are clamped to, by rank [G, 1, most]: those past a member's K to 0, signed ones to 0 and above.
        kept = torch.arange(self._most) < torch.tensor(ks)[:, None, None]
        self._high = torch.where(kept, torch.inf, 0.0).to(self.device)
        self._low = -self._high if self.config.selection == "magnitude" else torch.zeros_like(self._high)
        # What changes from step to step stands on the device, where a recorded step reads it.
        self._rate = torch.zeros((), device=self.device)
        self._seen = torch.zeros((), dtype=torch.int64, device=self.device)
        self._learned = [name for name in PARAMETERS if name != "b_dec" or self.config.decoder_bias]
        self._counts = [torch.zeros((), device=self.device) for _ in self._learned]
        self._recorded: Recorded | None = Recorded() if self.device.type == "cuda" else None

    def step(self, x: Tensor) -> Tensor:
        self._rate.fill_(self.learning_rate(self.step_number))
        # Nothing can be dead before the window has passed, and after it only the device knows: no need to ask it.
        with_auxk = bool(self.config.auxk_coefficient) and self.rows_seen >= self.auxk_window
        losses = self._recorded(self.compute, x, with_auxk) if self._recorded else self.compute(x, with_auxk)
        self.step_number += 1
        self.rows_seen += len(x)
        return losses

    @torch.no_grad()
    def compute(self, x: Tensor, with_auxk: bool) -> Tensor:
        """The work of a step, all on the device; returns the mean squared error per element [G].

        What it does in the order of its products: see `docs/engine.md`. It reads and writes tensors that stay where
        they are, and Python's numbers in it are the same at every step: `sae.training.cuda_graph` depends on both.
        """
        with rounding(self.config.precision, self.device):
            return self._compute(x, with_auxk)

    def _compute(self, x: Tensor, with_auxk: bool) -> Tensor:
        config = self.config
        W_enc, b_enc, W_dec, b_dec = (self.weights[name] for name in PARAMETERS)
        n = len(x)
        x = self.scaled(self._own(x))
        centred = x - b_dec.unsqueeze(1)
        seen = self._operand(centred if config.subtract_b_dec else x.expand(len(self.configs), -1, -1))
        decoder = self._operand(W_dec)

        pre = product(seen, self._operand(W_enc).mT, b_enc.unsqueeze(1))
        codes = self._select(pre)
        fires = codes != 0
        codes = self._operand(codes)
        error = product(codes, decoder, centred, -1)
        slope = error * (2 / (n * self.d_in * self.unit))
        by_b_dec = slope.sum(1)
        slope = self._operand(slope)
        by_W_dec = product(codes.mT, slope)
        by_pre = product(slope, decoder.mT).mul_(fires)
        if with_auxk:
            dead = self._seen - self.last_fired >= self.auxk_window
            term = auxk(pre, -error, W_dec, dead, self.auxk_k, self._spread(error, n))
            weight = config.auxk_coefficient * self.variance / self.unit
            by_pre.add_(term.pre_activations, alpha=weight)
            by_W_dec.add_(term.W_dec, alpha=weight)
        by_b_enc = by_pre.sum(1)
        if config.subtract_b_dec:
            by_b_dec = torch.baddbmm(by_b_dec.unsqueeze(1), by_b_enc.unsqueeze(1), W_enc, alpha=-1).squeeze(1)
        if config.decoder_norm == "every_step" and config.project_gradient:
            by_W_dec.addcmul_((by_W_dec * W_dec).sum(-1, keepdim=True), W_dec, value=-1)
        by_W_enc = product(self._operand(by_pre).mT, seen)

        gradients = dict(zip(PARAMETERS, (by_W_enc, by_b_enc, by_W_dec, by_b_dec), strict=True))
        squares, fired = error.square().sum((1, 2)), fires.any(1)
        self._over_processes([*(gradients[name] for name in self._learned), squares], fired)
        self._update(gradients)
        self._seen += n
        torch.where(fired, self._seen, self.last_fired, out=self.last_fired)
        return squares * (1 / (n * self.d_in * self.scale**2))

    def _select(self, pre: Tensor) -> Tensor:
        """Codes [G, B, d_sae]: 0 but for each member's K winners."""
        by_size = self.config.selection == "magnitude"
        values, indices = (pre.abs() if by_size else pre).topk(self._most, dim=-1, sorted=self._ranked)
        if by_size:
            values = pre.gather(-1, indices)
        return torch.zeros_like(pre).scatter_(-1, indices, values.clamp(self._low, self._high))

    def _update(self, gradients: dict[str, Tensor]) -> None:
        parts = (self.weights, gradients, self.first, self.second)
        weights, slopes, first, second = ([part[name] for name in self._learned] for part in parts)
        adam(
            weights,
            slopes,
            first,
            second,
            [],
            self._counts,
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self._rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )
        if self.config.decoder_norm == "every_step":
            W_dec = self.weights["W_dec"]
            W_dec.div_(W_dec.norm(dim=-1, keepdim=True).clamp_min_(1e-12))

    def _operand(self, x: Tensor) -> Tensor:
        return operand(x, self.config.precision)

    def _spread(self, error: Tensor, n: int) -> Tensor:
        """`‖e - mean(e)‖²` [G] of the n rows of the whole batch."""
        (mean,) = self._over_processes([error.sum(1, keepdim=True)])
        (spread,) = self._over_processes([(error - mean / n).square().sum((1, 2))])
        return spread

    # Where several processes share a batch (`sae.training.data_parallel`); here one has it all.

    def _own(self, x: Tensor) -> Tensor:
        """This process's rows of a batch."""
        return x

    def _over_processes(self, sums: list[Tensor], fired: Tensor | None = None) -> list[Tensor]:
        """`sums` and `fired` as of the whole batch, in place, when they are of this process's rows."""
        return sums

    def restore(self, member: int, state: dict[str, Tensor]) -> None:
        super().restore(member, state)
        self._place()

    def _place(self) -> None:
        """Tell the device how far training is."""
        self._seen.fill_(self.rows_seen)
        for count in self._counts:
            count.fill_(self.step_number)
