"""Configuration of runs that train sparse binary codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.config import TrainingConfig

LOSSES = ("cosine", "mse", "l1")


@dataclass(frozen=True)
class BinaryConfig(TrainingConfig):
    """Settings of the cosine loss (`sae.objectives.cosine_alignment`); the defaults are our reading of the paper."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **TrainingConfig.choices,
        "rounding": ("pass_through", "soft", "zero_gradient", "gumbel", "annealed", "topk", "topk_values"),
        "reconstruction_objective": LOSSES,
        "sparsity_objective": LOSSES,
        "target": ("binary", "masked"),
        "b_enc_init": ("zero", "logit"),
    }
    centred: ClassVar[bool] = False

    architecture: str = "binary"
    lr_schedule: str = "constant"
    """`linear` and `cosine` decay to 0 from the first step to the last."""
    input_scaling: bool = True
    """Whether training sees rows divided by their root mean squared norm, not centred: cosines are taken from the
    origin. It is folded back into the weights."""
    alpha: float = 1.0
    """Weight of the sparsity alignment; 0 switches it off. `topk` and `topk_values` have no use for it."""
    rounding: str = "pass_through"
    """How the strengths become the code that is decoded: `pass_through`, hard TopK clipping (`topk`, or `topk_values`
    without rounding), or with the rounding taken away or replaced (`soft`, `zero_gradient`, `gumbel`, `annealed`)."""
    reconstruction_objective: str = "cosine"
    """`mse` and `l1` are relative to the row's own norm."""
    sparsity_objective: str = "cosine"
    """`mse` and `l1` are sums over the N features, divided by K."""
    match_gradients: bool = True
    """Whether a loss that replaces a cosine is weighted so that its gradient has the cosine's norm at the start."""
    target: str = "binary"
    """What the strengths are aligned with: the K-hot mask (`binary`), or the strengths inside it (`masked`)."""
    temperature: float = 1.0
    """T of sigmoid(logits / T)."""
    final_temperature: float = 0.1
    """Where the temperature of `gumbel` and `annealed` ends, falling from 1 by the same factor at every step."""
    b_enc_init: str = "zero"
    """`zero`: about half of all bits on at the start. `logit`: logit(K / N), about K of them."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 does not clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0 or self.clip_norm < 0:
            raise UserError(f"alpha {self.alpha} and clip_norm {self.clip_norm} must not be below 0")
        if not (self.temperature > 0 and 0 < self.final_temperature <= 1):
            raise UserError(
                f"temperature {self.temperature} must be above 0, final_temperature {self.final_temperature} in (0, 1]"
            )

    @property
    def hard_topk(self) -> bool:
        """Whether TopK clipping makes the code, so that nothing aligns the strengths."""
        return self.rounding in ("topk", "topk_values")

    def model(self) -> dict[str, Any]:
        code = self.rounding if self.hard_topk else "threshold"
        return {"d_sae": self.d_sae, "k": self.k, "code": code, "temperature": self.temperature}
