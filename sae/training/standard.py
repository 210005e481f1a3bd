"""ReLU SAEs with an L1 penalty in training: as published in 2023 and as updated in 2024."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.base import SAE
from sae.models.standard import Standard
from sae.objectives.calibration import Calibration
from sae.training.autograd import Outcome
from sae.training.kernels.sparse_products import decoded, encoded
from sae.training.lengths import L1_WARMUP, LR_WARMUP, Length
from sae.training.mechanisms import MechanismsTrainer
from sae.training.raw_rows import to_raw_rows
from sae.training.rows import Rows
from sae.training.standard_config import StandardConfig
from sae.training.start import scaling, unit_rows

START_NORM = 0.1  # of decoder rows that are not kept at unit norm


class StandardTrainer(MechanismsTrainer):
    """Trains one ReLU SAE (`sae.training.standard_config`)."""

    model: Standard

    def __init__(self, config: StandardConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, initial_model(config, rows), config.clip_norm)
        self.config = config
        self._calibration: Calibration | None = None
        if config.calibrated:
            warm = 0 if config.l1_warmup_steps < 0 else L1_WARMUP.of(config, self.total_steps)
            self._calibration = Calibration(config.k, warm, self.total_steps)
            self.mechanisms["calibration"] = self._calibration

    def forward(self, x: Tensor) -> Outcome:
        model = self.model
        pre = encoded(x, model.b_dec if model.apply_b_dec_to_input else None, model.W_enc, model.b_enc)
        code = model.inhibited(pre.relu())
        guess = decoded(code, model.W_dec, model.b_dec)
        squares = (x - guess).square().sum(1)
        # The root has no slope at 0.
        loss = squares.mean() if self.config.loss == "squared" else squares.clamp_min(1e-24).sqrt().mean()
        return Outcome(loss, guess, code)

    def l1_norms(self, code: Tensor) -> Tensor:
        if self.unit_norm:
            return code.sum(1).mean()
        return (code * self.model.W_dec.norm(dim=1)).sum(1).mean()

    @property
    def l1_coefficient(self) -> float:
        factor = self._calibration.factor if self._calibration is not None else 1.0
        return super().l1_coefficient * factor * self._risen(L1_WARMUP, self.step_number)

    def learning_rate(self, step: int) -> float:
        return super().learning_rate(step) * self._risen(LR_WARMUP, step)

    def _risen(self, warmup: Length, step: int) -> float:
        """Share that has been reached at a step, 1 from the last step of the warm-up on, or where there is none."""
        if getattr(self.config, warmup.setting) < 0:
            return 1.0
        return min(1.0, (step + 1) / warmup.of(self.config, self.total_steps))

    @property
    def unit_norm(self) -> bool:
        return self.config.unit_norm

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> SAE:
        """For raw rows."""
        stored = Standard(self.d_in, **self.config.model()).to(self.device)
        stored.load_state_dict(self.model.state_dict())
        to_raw_rows(stored, self.shift, self.scale)
        return stored


@torch.no_grad()
def initial_model(config: StandardConfig, rows: Rows) -> Standard:
    """Random decoder rows of norm 1 (0.1 where training lets norms go), the encoder their transpose, b_enc 0, b_dec the
    rows' mean.
    """
    generator = torch.Generator().manual_seed(config.seed)
    model = Standard(rows.d_in, **config.model())
    directions = unit_rows(torch.randn(model.W_dec.shape, generator=generator))
    model.W_dec.copy_(directions if config.unit_norm else START_NORM * directions)
    model.W_enc.copy_(model.W_dec.T)
    shift, scale = scaling(config, rows)
    model.b_dec.copy_((rows.mean - shift).cpu() * scale)
    return model
