"""Training of SAEs whose sparsity a penalty makes: its warm-up and calibration, resampling, where they start."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models import build
from sae.models.base import SAE
from sae.objectives.calibration import Calibration
from sae.objectives.resampling import ROWS, Resampling
from sae.training.lengths import LR_WARMUP, RESAMPLING, WARMUPS, Length
from sae.training.mechanisms import MechanismsTrainer
from sae.training.penalty_config import PenaltyConfig
from sae.training.raw_rows import to_raw_rows
from sae.training.rows import Rows
from sae.training.start import scaling, unit_rows

START_NORM = 0.1  # of decoder rows that are not kept at unit norm


class PenaltyTrainer(MechanismsTrainer):
    """Base: a subclass adds `pressure` times its coefficient times its penalty to the loss.

    Args:
        model: with its initial weights; it encodes in training as it does afterwards.
    """

    def __init__(self, config: PenaltyConfig, rows: Rows, model: SAE) -> None:
        super().__init__(config, rows, model, config.clip_norm)
        self.penalised = config
        self._warmup = WARMUPS[config.warmup]
        self._calibration: Calibration | None = None
        if config.calibrated:
            warm = 0 if getattr(config, config.warmup) < 0 else self._warmup.of(config, self.total_steps)
            self._calibration = Calibration(config.k, warm, self.total_steps)
            self.mechanisms["calibration"] = self._calibration
        if config.resampling:
            self._rows = rows
            every = RESAMPLING.of(config, self.total_steps)
            self.mechanisms["resampling"] = Resampling(config.d_sae, every, config.seed, self.device, self._some_rows)

    @property
    def pressure(self) -> float:
        """What the coefficient is multiplied with at the present step."""
        factor = self._calibration.factor if self._calibration is not None else 1.0
        return factor * self._risen(self._warmup, self.step_number)

    def learning_rate(self, step: int) -> float:
        return super().learning_rate(step) * self._risen(LR_WARMUP, step)

    def _risen(self, warmup: Length, step: int) -> float:
        """Share that has been reached at a step, 1 from the last step of the warm-up on, or where there is none."""
        if getattr(self.penalised, warmup.setting) < 0:
            return 1.0
        return min(1.0, (step + 1) / warmup.of(self.penalised, self.total_steps))

    @torch.no_grad()
    def _some_rows(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training rows as the encoder sees them [n, d_in], and their squared errors [n]."""
        drawn = torch.randperm(self._rows.n, generator=generator)[:ROWS]
        x = self.scaled(self._rows.take(drawn).to(self.device))
        return x - self.model.b_dec, (x - self.model(x)).square().sum(1)

    @property
    def unit_norm(self) -> bool:
        return self.penalised.unit_norm

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> SAE:
        """For raw rows."""
        stored = empty_model(self.penalised, self.d_in).to(self.device)
        stored.load_state_dict(self.model.state_dict())
        to_raw_rows(stored, self.shift, self.scale)
        return stored


def empty_model(config: PenaltyConfig, d_in: int) -> SAE:
    """The SAE that a configuration describes, its weights not set yet."""
    return build(config.model_architecture, d_in=d_in, **config.model())


@torch.no_grad()
def initial_model(config: PenaltyConfig, rows: Rows) -> SAE:
    """Random decoder rows of norm 1 (0.1 where training lets norms go), the encoder their transpose, b_dec the rows'
    mean, the rest 0.
    """
    generator = torch.Generator().manual_seed(config.seed)
    model = empty_model(config, rows.d_in)
    directions = unit_rows(torch.randn(model.W_dec.shape, generator=generator))
    model.W_dec.copy_(directions if config.unit_norm else START_NORM * directions)
    model.W_enc.copy_(model.W_dec.T)
    shift, scale = scaling(config, rows)
    model.b_dec.copy_((rows.mean - shift).cpu() * scale)
    return model
