"""BatchTopK in training: the K · B largest activations of a batch are decoded, and their least one makes the threshold
that the stored model encodes by.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.batchtopk import BatchTopK
from sae.models.matryoshka_batchtopk import MatryoshkaBatchTopK
from sae.models.topk import TopK
from sae.training.autograd import Outcome
from sae.training.batchtopk_config import BatchTopKConfig
from sae.training.lengths import THRESHOLD_START, THRESHOLD_WINDOW
from sae.training.matryoshka import MatryoshkaTrainer
from sae.training.rows import Rows
from sae.training.topk_autograd import TopKAutogradTrainer
from sae.training.topk_config import TopKConfig


class BatchTopKTrainer(TopKAutogradTrainer):
    """As a TopK's, AuxK included, but for who is kept.

        threshold <- m · threshold + (1 - m) · least positive activation kept in the batch      m = 1 - 1 / window

    From step `start` on; before it, m is 0. A batch without a positive activation leaves it as it is.
    """

    def __init__(self, config: BatchTopKConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, principal)
        self._start = THRESHOLD_START.of(config, self.total_steps)
        self._momentum = 1 - 1 / THRESHOLD_WINDOW.of(config, self.total_steps)
        self._least = torch.full((), torch.inf, device=self.device)

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> TopK | BatchTopK:
        return BatchTopK(d_in, **config.model())

    @property
    def threshold(self) -> Tensor:
        """Of the model in training, for rows as training sees them."""
        assert isinstance(self.model, BatchTopK)
        return self.model.threshold

    def code_of(self, pre: Tensor, k: int) -> Tensor:
        assert isinstance(self.model, BatchTopK)
        kept = self.model.kept_of_batch(pre, k)
        # of the activations before a neighbour damps them: that is what the threshold is compared with
        with torch.no_grad():
            self._least = torch.where(kept > 0, kept, torch.inf).min()
        return self.model.inhibited(kept)

    def after_update(self, x: Tensor, outcome: Outcome) -> None:
        super().after_update(x, outcome)
        momentum = self._momentum if self.step_number >= self._start else 0.0
        following = momentum * self.threshold + (1 - momentum) * self._least
        self.threshold.copy_(torch.where(self._least.isfinite(), following, self.threshold))

    def figures(self, member: int) -> dict[str, float]:
        return {**super().figures(member), "threshold": float(self.threshold)}

    def held(self) -> dict[str, Tensor]:
        return {**super().held(), "threshold": self.threshold[None]}


class MatryoshkaBatchTopKTrainer(BatchTopKTrainer, MatryoshkaTrainer):
    """The codes of a BatchTopK, the error of a Matryoshka."""

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> TopK | BatchTopK:
        return MatryoshkaBatchTopK(d_in, **config.model())
