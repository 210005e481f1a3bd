"""Configuration of ReLU SAEs with an L1 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.mechanisms_config import MechanismsConfig


@dataclass(frozen=True)
class StandardConfig(MechanismsConfig):
    """Settings of a ReLU SAE: the reconstruction's error plus `l1_coefficient` times a mean L1 norm."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **MechanismsConfig.choices,
        "version": ("2023", "2024"),
        "loss": ("squared", "norm"),
    }

    architecture: str = "standard"
    k: int = 20
    """Active features a row that `calibrated` aims at. Without that the penalty decides how many are on, and only the
    cost shown before training counts on so many."""
    calibrated: bool = False
    """Whether the penalty is moved in training until `k` features are active on a row: `l1_coefficient` is where it
    starts. For comparisons at equal L0."""
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
    lr_warmup_steps: int = -1
    """Steps in which the rate rises from 0, on top of its schedule; 0 stands for 1,000, or a twentieth of the run where
    that is less; -1 for none."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 does not clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip_norm < 0:
            raise UserError(f"clip_norm {self.clip_norm} must be at least 0")
        if self.calibrated and not self.l1_coefficient > 0:
            raise UserError("calibrated moves the penalty: set l1_coefficient above 0, where it starts")
        for name in ("l1_warmup_steps", "lr_warmup_steps"):
            if getattr(self, name) < -1:
                raise UserError(f"{name} {getattr(self, name)} must be at least 0, or -1 for none")

    @property
    def unit_norm(self) -> bool:
        """Whether decoder rows are kept at unit norm."""
        return self.version == "2023"

    def model(self) -> dict[str, Any]:
        return {"d_sae": self.d_sae, **self.inhibition_of_model()}
