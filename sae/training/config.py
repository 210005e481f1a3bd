"""What one run is trained with. A run's `config.json` holds every field; `--set field=value` changes one.

Each architecture has a configuration of its own, with its fields after those that all have.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, get_type_hints

from sae.common.errors import UserError

#: The configuration of each architecture that can be trained.
CONFIGS = {
    "topk": "sae.training.topk_config:TopKConfig",
    "binary": "sae.training.binary_config:BinaryConfig",
    "standard": "sae.training.standard_config:StandardConfig",
    "matryoshka": "sae.training.matryoshka_config:MatryoshkaConfig",
    "panneal": "sae.training.panneal_config:PAnnealConfig",
    "gated": "sae.training.gated_config:GatedConfig",
    "jumprelu": "sae.training.jumprelu_config:JumpReLUConfig",
    "batchtopk": "sae.training.batchtopk_config:BatchTopKConfig",
    "matryoshka-batchtopk": "sae.training.batchtopk_config:MatryoshkaBatchTopKConfig",
    "transcoder": "sae.training.transcoder_config:TranscoderConfig",
    "crosscoder": "sae.training.crosscoder_config:CrosscoderConfig",
    "deep-topk": "sae.training.deep_config:DeepTopKConfig",
}


@dataclass(frozen=True)
class TrainingConfig:
    """What every run has. Lengths are in `epochs` and rows, so that they mean the same at any number of rows."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "lr_schedule": ("constant", "linear", "cosine"),
        "precision": ("float32", "tf32", "bfloat16"),
    }
    #: whether `input_scaling` also takes the mean off
    centred: ClassVar[bool] = True
    #: whether a run reads several layers at once (`layers_read`) and not one slice
    several_layers: ClassVar[bool] = False

    architecture: str = ""
    """`topk`, `binary`, `standard` (ReLU with L1), `matryoshka` (nested TopK), `panneal` (ReLU, the penalty annealed),
    `gated`, `jumprelu`, `batchtopk`, `matryoshka-batchtopk` (nested BatchTopK), `transcoder` (TopK from one slice to
    another), `crosscoder` (TopK over several layers at once) or `deep-topk` (TopK with more layers)."""
    d_sae: int = 512
    """Number of features."""
    k: int = 20
    """Features kept a row."""
    seed: int = 0
    """Seeds the initial weights and the order of the rows."""
    epochs: int = 25
    """Passes over the training rows."""
    batch_size: int = 256
    """Rows of a step."""
    lr: float = 1e-3
    """Adam's rate (betas 0.9, 0.999; eps 1e-8)."""
    lr_schedule: str = "linear"
    """`linear` and `cosine` decay to 0 from the first step to the last."""
    input_scaling: bool = True
    """Whether training sees rows less their mean and divided by their root mean squared norm. It is folded back into
    the weights, which apply to raw rows."""
    chunk_rows: int = 0
    """How rows are shuffled in an epoch. 0: all of them where they fit into half of the free memory, otherwise in
    chunks of 2 MB that are read as they are needed. From 1 on: in chunks of so many rows. A run's `config.json` says
    which it was, 0 for all rows."""
    precision: str = "float32"
    """Of the operands of dense products; sums are in float32 always. `tf32` rounds them on GPUs that have it, and is
    `float32` elsewhere; `bfloat16` rounds them on every device (on a CPU those of the encoder's product alone)."""

    def __post_init__(self) -> None:
        for name, choices in self.choices.items():
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

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def model_architecture(self) -> str:
        """Of the model that is stored: trainings can differ where models don't."""
        return self.architecture

    def target_place(self, layer: int | None, position: int | None) -> tuple[int | None, int | None] | None:
        """Layer and position of the slice that a run on this one reconstructs; None where that is the same one.

        Raises:
            UserError: if there is no such place.
        """
        return None

    def widths(self, d_in: int) -> tuple[int, ...]:
        """Of what stands side by side in its training rows, where what it reads has `d_in` dimensions in all."""
        return (d_in,)

    @property
    def layers_read(self) -> tuple[int, ...] | None:
        """The layers that a run reads at once, side by side; None where it reads one slice, or where the activations
        are still to say which."""
        return None

    def model(self) -> dict[str, Any]:
        """What that is built with, beside `d_in`."""
        raise NotImplementedError


def config_class(architecture: str) -> type[TrainingConfig]:
    """The configuration of an architecture. Raises UserError for one that can't be trained."""
    if architecture not in CONFIGS:
        raise UserError(f"architecture {architecture!r} can't be trained: take one of {', '.join(CONFIGS)}")
    module, name = CONFIGS[architecture].split(":")
    return getattr(import_module(module), name)


def from_settings(settings: dict[str, Any]) -> Any:
    """A configuration from names and values; values may be text, as the command line gives them.

    Raises:
        UserError: for an unknown name or a value of the wrong kind, naming both.
    """
    config = config_class(settings.get("architecture", "topk"))
    hints = get_type_hints(config)
    kinds = {field.name: hints[field.name] for field in dataclasses.fields(config)}
    unknown = sorted(set(settings) - set(kinds))
    if unknown:
        raise UserError(
            f"{unknown[0]!r} is not a setting of training {settings.get('architecture', 'topk')}; "
            f"settings are: {', '.join(sorted(kinds))}"
        )
    return config(**{name: _convert(name, value, kinds[name]) for name, value in settings.items()})


def _convert(name: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool:
            if isinstance(value, str):
                return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
            return bool(value)
        if kind in (int, float) and isinstance(value, bool):
            raise ValueError
        if kind is int:
            number = float(value)
            if number != int(number):
                raise ValueError
            return int(number)
        return kind(value)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise UserError(f"{name} can't be {value!r}: it takes {kind.__name__}") from None
