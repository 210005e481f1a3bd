"""The training step written plainly: dense operations, autograd, PyTorch's Adam. What fast steps are held against."""

import torch
from torch import nn

from sae.models.topk import TopK


class Reference:
    """Trains one TopK by autograd on rows as training sees them, from weights that are given.

    Args:
        start: W_enc [d_in, d_sae], b_enc, W_dec, b_dec, before the first step.
        variance: per element, of the rows as training sees them.
        window, auxk_k: of AuxK.
    """

    def __init__(self, config, start, variance, window, auxk_k, total_steps):
        self.config, self.variance, self.window, self.auxk_k = config, variance, window, auxk_k
        self.total_steps, self.step_number, self.rows_seen = total_steps, 0, 0
        self.weights = {name: nn.Parameter(value.clone()) for name, value in start.items()}
        learned = [value for name, value in self.weights.items() if name != "b_dec" or config.decoder_bias]
        self.optimizer = torch.optim.Adam(learned, lr=config.lr, foreach=False, fused=False)
        self.last_fired = torch.zeros(config.d_sae, dtype=torch.int64)
        self.topk = TopK(1, config.d_sae, config.k, config.selection)

    def losses(self, x):
        """(the whole loss, the mean squared error, the codes)"""
        config, w = self.config, self.weights
        pre = (x - w["b_dec"] if config.subtract_b_dec else x) @ w["W_enc"] + w["b_enc"]
        score = pre if config.selection == "signed" else pre.abs()
        keep = torch.zeros_like(pre).scatter(1, score.detach().topk(config.k, dim=1).indices, 1.0)
        codes = pre * keep
        codes = codes.relu() if config.selection == "signed" else codes
        residual = x - codes @ w["W_dec"] - w["b_dec"]
        mse = residual.square().mean()
        unit = self.variance if config.loss == "normalised" else 1.0
        loss = mse / unit
        dead = self.rows_seen - self.last_fired >= self.window
        if config.auxk_coefficient and dead.any():
            target = residual.detach()
            among = pre[:, dead]
            k = min(self.auxk_k, int(dead.sum()))
            mask = torch.zeros_like(among).scatter(1, among.detach().topk(k, dim=1).indices, 1.0)
            guess = (among * mask).relu() @ w["W_dec"][dead]
            share = min(int(dead.sum()) / self.auxk_k, 1.0)
            aux = share * (target - guess).square().sum() / (target - target.mean(0)).square().sum()
            loss = loss + config.auxk_coefficient * self.variance / unit * aux
        return loss, mse.detach(), codes.detach()

    def step(self, x):
        """One step; returns the mean squared error before it."""
        config = self.config
        loss, mse, codes = self.losses(x)
        self.optimizer.zero_grad()
        loss.backward()
        W_dec = self.weights["W_dec"]
        unit_norm = config.decoder_norm == "every_step"
        with torch.no_grad():
            if unit_norm and config.project_gradient:
                assert W_dec.grad is not None
                W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
            done = self.step_number / self.total_steps
            self.optimizer.param_groups[0]["lr"] = config.lr * {"constant": 1.0, "linear": 1 - done}[config.lr_schedule]
            self.optimizer.step()
            if unit_norm:
                W_dec.div_(W_dec.norm(dim=1, keepdim=True))
        self.step_number += 1
        self.rows_seen += len(x)
        self.last_fired[(codes != 0).any(0)] = self.rows_seen
        return mse
