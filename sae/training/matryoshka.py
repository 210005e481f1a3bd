"""Matryoshka TopK in training: the error is the mean over the reconstructions from nested prefixes of the features."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from sae.models.batchtopk import BatchTopK
from sae.models.matryoshka import Matryoshka
from sae.models.matryoshka_batchtopk import MatryoshkaBatchTopK
from sae.models.topk import TopK
from sae.training.kernels.sparse_products import decoded
from sae.training.topk_autograd import TopKAutogradTrainer
from sae.training.topk_config import TopKConfig


class MatryoshkaTrainer(TopKAutogradTrainer):
    """As a TopK's, AuxK included: it explains what the whole dictionary leaves over."""

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> TopK | BatchTopK:
        return Matryoshka(d_in, **config.model())

    @property
    def prefixes(self) -> list[int]:
        assert isinstance(self.model, Matryoshka | MatryoshkaBatchTopK)
        return self.model.prefixes

    def error(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        guess: Tensor = self.model.b_dec
        errors = []
        for start, end in pairwise([0, *self.prefixes]):
            guess = guess + decoded(code[:, start:end], self.model.W_dec[start:end])
            errors.append((x - guess).square().mean())
        return torch.stack(errors).mean(), guess
