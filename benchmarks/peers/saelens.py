"""SAELens: its TopKTrainingSAE, stepped by its own SAETrainer."""

from __future__ import annotations

import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from benchmarks.task import BATCH_SIZE, LR, Task, topk_model
from sae.models.topk import TopK


class Peer:
    """As it comes, without AuxK, warm-up and logging; its rate decays over the whole run."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        cell = task.cell
        config = TopKTrainingSAEConfig(d_in=task.d_in, d_sae=cell.d_sae, k=cell.k, aux_loss_coefficient=0.0)
        self.sae = TopKTrainingSAE(config)
        settings = SAETrainerConfig(
            total_training_samples=task.steps * BATCH_SIZE,
            train_batch_size_samples=BATCH_SIZE,
            lr=LR,
            lr_end=LR,
            lr_decay_steps=task.steps - 1,
        )
        self.trainer = SAETrainer(settings, self.sae, iter(()))

    def step(self, x: Tensor) -> None:
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    def model(self) -> TopK:
        sae = self.sae
        norm = sae.W_dec.detach().norm(dim=1)  # it reads the encoder times this, and the decoder over it
        return topk_model(sae.cfg.k, sae.W_enc * norm, sae.b_enc * norm, sae.W_dec / norm[:, None], sae.b_dec)
