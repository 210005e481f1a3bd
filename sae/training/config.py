"""What one run is trained with. A run's `config.json` holds every field; `--set field=value` changes one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, get_type_hints

from sae.common.errors import UserError

_CHOICES = {
    "selection": ("signed", "magnitude"),
    "loss": ("normalised", "mse"),
    "encoder_init": ("tied", "linear"),
    "decoder_init": ("data", "random", "linear"),
    "b_dec_init": ("mean", "zero", "linear"),
    "decoder_norm": ("every_step", "initial"),
    "lr_schedule": ("constant", "linear", "cosine"),
    "precision": ("float32", "tf32", "bfloat16"),
}


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a run. Lengths in `epochs` and rows, so that they mean the same at any number of rows."""

    architecture: str = "topk"
    d_sae: int = 512
    """Number of features."""
    k: int = 20
    """Features kept a row."""
    selection: str = "signed"
    """`signed`: the K largest pre-activations, then ReLU. `magnitude`: the K largest by absolute value, sign kept."""
    seed: int = 0
    """Seeds the initial weights and the order of the rows."""

    loss: str = "normalised"
    """`mse`: mean over all elements. `normalised`: that over the variance of the training rows, so that rates and
    coefficients mean the same whatever the scale of the rows."""
    epochs: int = 25
    batch_size: int = 256
    lr: float = 1e-3
    """Adam's rate (betas 0.9, 0.999; eps 1e-8)."""
    lr_schedule: str = "linear"
    """`linear` and `cosine` decay to 0 from the first step to the last."""

    input_scaling: bool = True
    """Whether training sees rows less their mean and divided by their root mean squared norm. It is folded back into
    the weights, which apply to raw rows."""
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

    chunk_rows: int = 0
    """How rows are shuffled in an epoch. 0: all of them where they fit into half of the free memory, otherwise in
    chunks of 2 MB that are read as they are needed. From 1 on: in chunks of so many rows. A run's `config.json` says
    which it was, 0 for all rows."""
    precision: str = "float32"
    """Of the operands of dense products; sums are in float32 always. `tf32` rounds them on GPUs that have it, and is
    `float32` elsewhere; `bfloat16` rounds them on every device (on a CPU those of the encoder's product alone)."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} {getattr(self, name)!r} is not known: take one of {', '.join(choices)}")
        for name in ("d_sae", "k", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)} must be at least 1")
        if self.chunk_rows < 0:
            raise UserError(f"chunk_rows {self.chunk_rows} must be at least 0")
        if not 0 < self.lr < 10:
            raise UserError(f"lr {self.lr} must lie between 0 and 10")
        if self.k > self.d_sae:
            raise UserError(
                f"k {self.k} is larger than d_sae {self.d_sae}: a row can't keep more features than there are"
            )

        if self.input_scaling and not self.decoder_bias:
            raise UserError("input_scaling needs decoder_bias: the mean that training takes off comes back as b_dec")

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def from_settings(settings: dict[str, Any]) -> TrainingConfig:
    """A configuration from names and values; values may be text, as the command line gives them.

    Raises:
        UserError: for an unknown name or a value of the wrong kind, naming both.
    """
    kinds = get_type_hints(TrainingConfig)
    unknown = sorted(set(settings) - set(kinds))
    if unknown:
        raise UserError(f"{unknown[0]!r} is not a setting of training; settings are: {', '.join(sorted(kinds))}")
    return TrainingConfig(**{name: _convert(name, value, kinds[name]) for name, value in settings.items()})


def _convert(name: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool:
            if isinstance(value, str):
                return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
            return bool(value)
        if kind is int:
            number = float(value)
            if number != int(number):
                raise ValueError
            return int(number)
        return kind(value)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise UserError(f"{name} can't be {value!r}: it takes {kind.__name__}") from None
