"""Configuration of JumpReLU SAEs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sae.common.errors import UserError
from sae.training.penalty_config import PenaltyConfig


@dataclass(frozen=True)
class JumpReLUConfig(PenaltyConfig):
    """Settings of a JumpReLU SAE: the reconstruction's error plus `l0_coefficient` times the mean L0."""

    coefficient: ClassVar[str] = "l0_coefficient"
    warmup: ClassVar[str] = "l0_warmup_steps"

    architecture: str = "jumprelu"
    l0_coefficient: float = 0.01
    """Weight of the mean number of active features, beside a mean ‖x - x̂‖² that is 1 for the mean predictor."""
    l0_warmup_steps: int = 0
    """Steps in which that weight rises from 0; 0 stands for 2,000, or a tenth of the run where that is less; -1 for
    none."""
    bandwidth: float = 0.05
    """Width of the window around a threshold in which pre-activations move it. In units of rows as training sees them,
    of root mean squared norm 1 with `input_scaling`: without that it has to fit the rows."""
    initial_threshold: float = 0.01
    """Where thresholds start, in the same units."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("bandwidth", "initial_threshold"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} {getattr(self, name)} must be above 0")
        if not self.l0_coefficient >= 0:
            raise UserError(f"l0_coefficient {self.l0_coefficient} must be at least 0")
