"""A plain dense TopK SAE: what one writes first. Dense products, autograd, `torch.optim.Adam` as it comes."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.ours import start
from benchmarks.task import LR, Task
from sae.models.topk import TopK


class DenseAutograd:
    """Same start, loss, optimizer and schedule as ours; the decoder is renormalised after every step."""

    def __init__(self, task: Task) -> None:
        self.weights = start(task)
        self.variance = (task.rows - task.rows.mean(0)).square().mean()
        self.optimizer = torch.optim.Adam(self.weights.parameters(), lr=LR)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: max(0.0, 1 - step / task.steps))

    def step(self, x: Tensor) -> Tensor:
        """Returns the mean squared error per element."""
        weights = self.weights
        pre = (x - weights.b_dec) @ weights.W_enc + weights.b_enc
        top = pre.topk(weights.k, dim=1)
        features = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
        mse = (x - (features @ weights.W_dec + weights.b_dec)).square().mean()
        self.optimizer.zero_grad()
        (mse / self.variance).backward()
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            weights.W_dec.div_(weights.W_dec.norm(dim=1, keepdim=True))
        return mse.detach()

    def model(self) -> TopK:
        return self.weights
