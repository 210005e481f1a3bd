"""Settings of SAEs whose sparsity a penalty makes: what ReLU, Gated and JumpReLU SAEs have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.mechanisms_config import MechanismsConfig


@dataclass(frozen=True)
class PenaltyConfig(MechanismsConfig):
    """An architecture's own settings come after these."""

    #: the penalty's weight and the steps in which it rises, by the names of their settings
    coefficient: ClassVar[str] = "l1_coefficient"
    warmup: ClassVar[str] = "l1_warmup_steps"

    k: int = 20
    """Active features a row that `calibrated` aims at. Without that the penalty decides how many are on, and only the
    cost shown before training counts on so many."""
    calibrated: bool = False
    """Whether the penalty is moved in training until `k` features are active on a row: its coefficient is where it
    starts. For comparisons at equal L0."""
    lr_warmup_steps: int = -1
    """Steps in which the rate rises from 0, on top of its schedule; 0 stands for 1,000, or a twentieth of the run where
    that is less; -1 for none."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    resampling: bool = False
    """Whether features that no longer fire are started anew in the direction of rows that are reconstructed badly, four
    times in a run (Bricken et al. 2023)."""
    resampling_steps: int = 0
    """Steps from one time to the next; those that did not fire in the second half of them are started anew. 0 stands
    for 25,000, or an eighth of the run where that is less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip_norm < 0:
            raise UserError(f"clip_norm {self.clip_norm} must be at least 0")
        if self.calibrated and not getattr(self, self.coefficient) > 0:
            raise UserError(f"calibrated moves the penalty: set {self.coefficient} above 0, where it starts")
        if self.resampling_steps < 0:
            raise UserError(f"resampling_steps {self.resampling_steps} must be at least 0")
        for name in (self.warmup, "lr_warmup_steps"):
            if getattr(self, name) < -1:
                raise UserError(f"{name} {getattr(self, name)} must be at least 0, or -1 for none")

    @property
    def unit_norm(self) -> bool:
        """Whether decoder rows are kept at unit norm."""
        return True

    def model(self) -> dict[str, Any]:
        return {"d_sae": self.d_sae, **self.inhibition_of_model()}
