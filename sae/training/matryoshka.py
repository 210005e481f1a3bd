"""Matryoshka TopK in training: the error is the mean over the reconstructions from nested prefixes of the features."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.matryoshka import Matryoshka
from sae.training.topk_autograd import TopKAutogradTrainer
from sae.training.topk_config import TopKConfig


class MatryoshkaTrainer(TopKAutogradTrainer):
    """As a TopK's, AuxK included: it explains what the whole dictionary leaves over."""

    model: Matryoshka

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> Matryoshka:
        return Matryoshka(d_in, **config.model())

    def error(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        guesses = list(self.model.nested_decode(code))
        return torch.stack([(x - guess).square().mean() for guess in guesses]).mean(), guesses[-1]
