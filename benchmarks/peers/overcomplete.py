"""Overcomplete: its TopKSAE, trained by its `train_sae` one batch a call."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.peers import without_its_init
from benchmarks.task import LR, Task, topk_model
from sae.models.topk import TopK

without_its_init("overcomplete")
from overcomplete.sae.topk_sae import TopKSAE  # noqa: E402
from overcomplete.sae.train import train_sae  # noqa: E402


def _mse(x: Tensor, x_hat: Tensor, pre_codes: Tensor, codes: Tensor, dictionary: Tensor) -> Tensor:
    """Its `top_k_auxiliary_loss` without the auxiliary part."""
    return (x - x_hat).square().mean()


class Peer:
    """Linear encoder, unit-norm dictionary, no bias of the decoder; without monitoring."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        self.sae = TopKSAE(task.d_in, nb_concepts=task.cell.d_sae, top_k=task.cell.k)
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=LR)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: max(0.0, 1 - step / task.steps))

    def step(self, x: Tensor) -> None:
        train_sae(self.sae, [x], _mse, self.optimizer, self.schedule, nb_epochs=1, monitoring=0)

    def model(self) -> TopK:
        encoder = self.sae.encoder.final_block[0]
        zeros = torch.zeros(encoder.in_features)
        return topk_model(self.sae.top_k, encoder.weight.T, encoder.bias, self.sae.get_dictionary(), zeros)
