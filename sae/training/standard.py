"""ReLU SAEs with an L1 penalty in training: as published in 2023 and as updated in 2024."""

from __future__ import annotations

from torch import Tensor

from sae.models.standard import Standard
from sae.training.autograd import Outcome
from sae.training.kernels.sparse_products import decoded, encoded
from sae.training.penalty import PenaltyTrainer, initial_model
from sae.training.rows import Rows
from sae.training.standard_config import StandardConfig


class StandardTrainer(PenaltyTrainer):
    """Trains one ReLU SAE (`sae.training.standard_config`)."""

    model: Standard

    def __init__(self, config: StandardConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, initial_model(config, rows))
        self.config = config

    def forward(self, x: Tensor) -> Outcome:
        model = self.model
        pre = encoded(x, model.b_dec if model.apply_b_dec_to_input else None, model.W_enc, model.b_enc)
        code = model.inhibited(pre.relu())
        guess = decoded(code, model.W_dec, model.b_dec)
        squares = (x - guess).square().sum(1)
        # The root has no slope at 0.
        loss = squares.mean() if self.config.loss == "squared" else squares.clamp_min(1e-24).sqrt().mean()
        return Outcome(loss, guess, code)

    def strengths(self, code: Tensor, W_dec: Tensor) -> Tensor:
        """What the penalty counts [B, d_sae]: activations in units of decoder rows."""
        return code if self.unit_norm else code * W_dec.norm(dim=1)

    def l1_norms(self, code: Tensor) -> Tensor:
        return self.strengths(code, self.model.W_dec).sum(1).mean()

    @property
    def l1_coefficient(self) -> float:
        return super().l1_coefficient * self.pressure
