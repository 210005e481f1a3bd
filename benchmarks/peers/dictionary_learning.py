"""dictionary_learning: its TopKTrainer and its `update`."""

from __future__ import annotations

from torch import Tensor

from benchmarks.peers import without_its_init
from benchmarks.task import LR, Task, topk_model
from sae.models.topk import TopK

without_its_init("dictionary_learning")
from dictionary_learning.trainers.top_k import TopKTrainer  # noqa: E402


class Peer:
    """As it comes, without AuxK and warm-up; its rate decays from the second step on."""

    def __init__(self, task: Task) -> None:
        self.trainer = TopKTrainer(
            steps=task.steps,
            activation_dim=task.d_in,
            dict_size=task.cell.d_sae,
            k=task.cell.k,
            layer=0,
            lm_name="",
            lr=LR,
            auxk_alpha=0.0,
            warmup_steps=0,
            decay_start=1,
            seed=task.seed,
            device="cpu",
        )
        self.number = 0

    def step(self, x: Tensor) -> None:
        self.trainer.update(self.number, x)
        self.number += 1

    def model(self) -> TopK:
        ae = self.trainer.ae
        return topk_model(int(ae.k), ae.encoder.weight.T, ae.encoder.bias, ae.decoder.weight.T, ae.b_dec)
