"""Configuration of Gated SAEs."""

from __future__ import annotations

from dataclasses import dataclass

from sae.training.penalty_config import PenaltyConfig


@dataclass(frozen=True)
class GatedConfig(PenaltyConfig):
    """Settings of a Gated SAE: the penalty is on what the gates let through, not on the activations."""

    architecture: str = "gated"
    l1_coefficient: float = 0.04
    """Weight of the mean L1 norm of the gates' positive pre-activations."""
    l1_warmup_steps: int = 0
    """Steps in which that weight rises from 0; 0 stands for 1,000, or a twentieth of the run where that is less; -1 for
    none."""
