"""Configuration of ReLU SAEs with an L1 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sae.training.penalty_config import PenaltyConfig


@dataclass(frozen=True)
class StandardConfig(PenaltyConfig):
    """Settings of a ReLU SAE: the reconstruction's error plus `l1_coefficient` times a mean L1 norm."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **PenaltyConfig.choices,
        "version": ("2023", "2024"),
        "loss": ("squared", "norm"),
    }

    architecture: str = "standard"
    version: str = "2023"
    """`2023` (Bricken et al.): decoder rows at unit norm, their radial gradient removed, penalty Σ f. `2024` (the
    update of April 2024): decoder rows of any norm, penalty Σ f_i ‖d_i‖."""
    loss: str = "squared"
    """Mean over rows of ‖x - x̂‖² or of its root (`norm`), as training sees rows."""
    l1_coefficient: float = 0.04
    """Weight of the mean L1 norm of the activations."""
    l1_warmup_steps: int = 0
    """Steps in which that weight rises from 0; 0 stands for 1,000, or a twentieth of the run where that is less; -1 for
    none."""

    @property
    def unit_norm(self) -> bool:
        return self.version == "2023"
