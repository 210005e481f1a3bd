"""Configuration of TopK SAEs with a deeper encoder or decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.topk_config import TopKConfig


@dataclass(frozen=True)
class DeepTopKConfig(TopKConfig):
    """A TopK's settings, and its layers."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **TopKConfig.choices,
        "nonlinearity": ("relu", "gelu", "identity"),
    }

    architecture: str = "deep-topk"
    encoder_layers: int = 2
    """Layers of the encoder, 1 to 3. Each before the last adds σ(h A + a) C to the row h, and starts at C = 0."""
    decoder_layers: int = 1
    """Layers of the decoder, 1 to 3; each after the first as in the encoder."""
    nonlinearity: str = "gelu"
    """σ. `identity` is the control of depth alone: it is stored as the TopK that it equals."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("encoder_layers", "decoder_layers"):
            if not 1 <= getattr(self, name) <= 3:
                raise UserError(f"{name} {getattr(self, name)} must lie between 1 and 3")
        if not self.subtract_b_dec:
            raise UserError("subtract_b_dec=false is a setting of topk: the layers of deep-topk read rows less b_dec")

    @property
    def linear(self) -> bool:
        """Whether it equals a TopK."""
        return self.nonlinearity == "identity"

    @property
    def model_architecture(self) -> str:
        return "topk" if self.linear else self.architecture

    def layers(self) -> dict[str, Any]:
        names = ("encoder_layers", "decoder_layers", "nonlinearity")
        return {name: getattr(self, name) for name in names}

    def model(self) -> dict[str, Any]:
        return super().model() if self.linear else {**super().model(), **self.layers()}
