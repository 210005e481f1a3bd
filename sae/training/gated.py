"""Gated SAEs in training: the gates are trained by a penalty and by a reconstruction of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.gated import Gated
from sae.training.autograd import Outcome
from sae.training.gated_config import GatedConfig
from sae.training.kernels.sparse_products import decoded, encoded
from sae.training.penalty import PenaltyTrainer, initial_model
from sae.training.rows import Rows


class GatedTrainer(PenaltyTrainer):
    """Minimises, as means over rows, with g = ReLU(π + b_enc) of the gates (see `sae.models.gated`)

    ‖x - x̂‖² + λ Σ g + ‖x - (g @ W_dec' + b_dec')‖²        ' without gradient
    """

    model: Gated

    def __init__(self, config: GatedConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, initial_model(config, rows))
        self._gates = torch.zeros(())

    def forward(self, x: Tensor) -> Outcome:
        model = self.model
        projected = encoded(x, model.b_dec, model.W_enc, torch.zeros_like(model.b_enc))
        self._gates = (projected + model.b_enc).relu()
        code = model.code_of(projected)
        guess = decoded(code, model.W_dec, model.b_dec)
        by_gates = decoded(self._gates, model.W_dec.detach(), model.b_dec.detach())
        loss = (x - guess).square().sum(1).mean() + (x - by_gates).square().sum(1).mean()
        return Outcome(loss, guess, code)

    def l1_norms(self, code: Tensor) -> Tensor:
        """Of the gates of the rows that `forward` saw last."""
        return self._gates.sum(1).mean()

    @property
    def l1_coefficient(self) -> float:
        return super().l1_coefficient * self.pressure
