"""p-annealing in training: a ReLU SAE whose penalty goes from L1 towards L0."""

from __future__ import annotations

from torch import Tensor

from sae.objectives.p_annealing import PAnnealing, p_norm
from sae.training.lengths import ANNEAL_START
from sae.training.panneal_config import PAnnealConfig
from sae.training.rows import Rows
from sae.training.standard import StandardTrainer


class PAnnealTrainer(StandardTrainer):
    """The stored model is a `standard` one."""

    def __init__(self, config: PAnnealConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, principal)
        start = ANNEAL_START.of(config, self.total_steps)
        self.annealing = PAnnealing(start, self.total_steps, config.p_end, self.strengths)
        self.mechanisms["annealing"] = self.annealing

    def l1_norms(self, code: Tensor) -> Tensor:
        return p_norm(self.strengths(code, self.model.W_dec), self.annealing.p)

    @property
    def l1_coefficient(self) -> float:
        return super().l1_coefficient * self.annealing.factor
