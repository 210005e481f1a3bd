"""Crosscoders in training: a TopK on rows of several layers side by side, each layer counting alike."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.crosscoder import Crosscoder
from sae.training.crosscoder_config import CrosscoderConfig
from sae.training.evened import Evened
from sae.training.rows import Rows
from sae.training.topk_autograd import TopKAutogradTrainer
from sae.training.topk_config import TopKConfig


class CrosscoderTrainer(TopKAutogradTrainer):
    """Minimises Σ_l ‖x_l - x̂_l‖², with `input_scaling` each layer in units of its spread.

    Decoder rows are of norm 1 over all layers together.

    Args:
        principal: of the rows with their layers brought to one spread (`Evened`).
    """

    def __init__(self, config: CrosscoderConfig, rows: Rows, principal: Tensor | None = None) -> None:
        evened = Evened(rows)
        self._spreads = evened.spreads.float()
        self._factors = evened.factors if config.input_scaling else torch.ones_like(evened.factors)
        super().__init__(config, evened if config.input_scaling else rows, principal if config.input_scaling else None)

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> Crosscoder:
        return Crosscoder(d_in, **config.model())

    def scaled(self, x: Tensor) -> Tensor:
        return super().scaled(x) * self._factors

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> Crosscoder:
        """For raw rows: what brought the layers to one spread goes into the weights that read and write them."""
        stored = super().finished_model(member)
        assert isinstance(stored, Crosscoder)
        stored.W_enc.mul_(self._factors[:, None])
        stored.W_dec.div_(self._factors)
        stored.b_dec.copy_(self.shift + self.model.b_dec / (self.scale * self._factors))
        stored.layer_spread.copy_(self._spreads)
        return stored
