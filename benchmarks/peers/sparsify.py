"""EleutherAI's sparsify: its SparseCoder, and the step out of its `Trainer.fit`, which has no call of its own."""

from __future__ import annotations

import torch
from sparsify.config import SparseCoderConfig
from sparsify.sparse_coder import SparseCoder
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from benchmarks.task import LR, Task, topk_model
from sae.models.topk import TopK


class Peer:
    """`optimizer="adam"` and `loss_fn="fvu"` of its TrainConfig, without AuxK and warm-up.

    Its loss is the squared error over the batch's variance. On a CPU its decoder is the eager one, an embedding bag;
    Triton's is for GPUs; the matmul precision "high" that its `fit` asks for is float32 on a CPU.
    """

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        cell = task.cell
        self.coder = SparseCoder(task.d_in, SparseCoderConfig(num_latents=cell.d_sae, k=cell.k), dtype=torch.float32)
        self.optimizer = torch.optim.Adam(self.coder.parameters(), lr=LR)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, 0, task.steps)
        self.since_fired = torch.zeros(cell.d_sae, dtype=torch.long)
        self.did_fire = torch.zeros(cell.d_sae, dtype=torch.bool)
        self.fvu = 0.0
        self.first = True

    def step(self, x: Tensor) -> None:
        coder = self.coder
        if self.first:
            coder.b_dec.data = x.mean(0)
            self.first = False
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x=x, y=x, dead_mask=None, total_variance=(x - x.mean(0)).pow(2).sum())
        self.did_fire[out.latent_indices.flatten()] = True
        self.fvu += float(out.fvu.detach())
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        with torch.no_grad():
            self.since_fired += len(x)
            self.since_fired[self.did_fire] = 0
            self.did_fire.zero_()

    def model(self) -> TopK:
        coder = self.coder
        coder.set_decoder_norm_to_unit_norm()
        return topk_model(coder.cfg.k, coder.encoder.weight.T, coder.encoder.bias, coder.W_dec, coder.b_dec)
