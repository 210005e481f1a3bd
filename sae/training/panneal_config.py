"""Configuration of ReLU SAEs whose penalty is annealed from L1 towards L0."""

from __future__ import annotations

from dataclasses import dataclass

from sae.common.errors import UserError
from sae.training.standard_config import StandardConfig


@dataclass(frozen=True)
class PAnnealConfig(StandardConfig):
    """A ReLU SAE's settings, and how p falls in Σ f^p."""

    architecture: str = "panneal"
    p_end: float = 0.2
    """What p is in the end, above 0; it falls from 1 in ten equal steps."""
    anneal_start_steps: int = 0
    """Steps before p falls, over what is left of the run; 0 stands for 15,000, or half of the run where that is
    less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.p_end <= 1:
            raise UserError(f"p_end {self.p_end} must be above 0 and at most 1")
        if self.anneal_start_steps < 0:
            raise UserError(f"anneal_start_steps {self.anneal_start_steps} must be at least 0")

    @property
    def model_architecture(self) -> str:
        return "standard"
