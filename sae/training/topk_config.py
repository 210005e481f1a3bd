"""Configuration of TopK runs, and what others that select features have of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.mechanisms_config import MechanismsConfig


@dataclass(frozen=True)
class SelectedConfig(MechanismsConfig):
    """Settings of every architecture whose features are the largest pre-activations: they come before its own."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **MechanismsConfig.choices,
        "selection": ("signed", "magnitude"),
        "loss": ("normalised", "mse"),
        "decoder_norm": ("every_step", "initial"),
    }

    selection: str = "signed"
    """`signed`: the K largest pre-activations, then ReLU. `magnitude`: the K largest by absolute value, sign kept."""
    loss: str = "normalised"
    """`mse`: mean over all elements. `normalised`: that over the variance of the training rows, so that rates and
    coefficients mean the same whatever the scale of the rows."""
    decoder_norm: str = "every_step"
    """Decoder rows at unit norm after `every_step`, or at the `initial` one only."""
    project_gradient: bool = True
    """Whether the radial part of each decoder row's gradient is removed before the step."""
    auxk_coefficient: float = 1 / 32
    """Weight of AuxK (Gao et al. 2024); 0 switches it off."""
    auxk_k: int = 0
    """Dead features that AuxK uses a row; 0 stands for d_in / 2."""
    auxk_window: int = 0
    """Rows without firing after which a feature counts as dead in training; 0 stands for two epochs: one that fires
    on a single row may wait that long between two visits to it."""
    multi_topk: bool = False
    """Multi-TopK (Gao et al. 2024): an eighth of the error with four times K features is added to the loss, so that the
    model also works with more of them than it was trained for."""

    def model(self) -> dict[str, Any]:
        return {"d_sae": self.d_sae, "k": self.k, "selection": self.selection, **self.inhibition_of_model()}


@dataclass(frozen=True)
class TopKConfig(SelectedConfig):
    """Settings of a TopK SAE; `sae.experiments.presets` has whole recipes."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **SelectedConfig.choices,
        "encoder_init": ("tied", "linear"),
        "decoder_init": ("data", "random", "linear"),
        "b_dec_init": ("mean", "zero", "linear"),
    }

    architecture: str = "topk"
    decoder_init: str = "data"
    """`data`: pairs of a principal direction and its opposite, then what those leave over of random training rows.
    `random` unit rows. `linear`: PyTorch's default for a linear layer, at unit norm."""
    principal_pairs: int = 0
    """Principal directions that `decoder_init="data"` starts with in both signs; 0 stands for K."""
    encoder_init: str = "tied"
    """`tied`: the transpose of the decoder. `linear`: PyTorch's default for a linear layer."""
    fit_encoder_scale: bool = True
    """Whether a tied encoder is multiplied by the one number that fits the first reconstructions best: overlapping
    directions would overshoot."""
    b_dec_init: str = "mean"
    """`mean` of the training rows, `zero`, or PyTorch's default for a linear layer's bias."""
    decoder_bias: bool = True
    """Whether `b_dec` is there at all; without it, it stays 0."""
    subtract_b_dec: bool = True
    """Whether the encoder sees `x - b_dec` or `x`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_scaling and not self.decoder_bias:
            raise UserError("input_scaling needs decoder_bias: the mean that training takes off comes back as b_dec")
