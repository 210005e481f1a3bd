"""Configuration of crosscoders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.topk_config import TopKConfig

ALL = "all"
_LAYERS = re.compile(r"\d{1,6}([+,]\d{1,6})*")


@dataclass(frozen=True)
class CrosscoderConfig(TopKConfig):
    """Settings of a crosscoder: a TopK's, and which layers it reads and reconstructs."""

    several_layers: ClassVar[bool] = True

    architecture: str = "crosscoder"
    layers: str = ALL
    """The layers that are read and reconstructed at once, such as `3+6+9`, at the position of the run; `all` that the
    activations hold. `input_scaling` brings them to one spread, so that each counts alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers != ALL and not _LAYERS.fullmatch(self.layers):
            raise UserError(f"layers {self.layers!r} must be numbers with + between, such as 3+6+9, or all")
        if self.layers_read is not None and len(set(self.layers_read)) < len(self.layers_read):
            raise UserError(f"layers {self.layers!r} names a layer twice")

    @property
    def layers_read(self) -> tuple[int, ...] | None:
        return None if self.layers == ALL else tuple(int(word) for word in re.split("[+,]", self.layers))

    def widths(self, d_in: int) -> tuple[int, ...]:
        layers = len(self.layers_read or (0,))
        return (d_in // layers,) * layers

    def model(self) -> dict[str, Any]:
        return {**super().model(), "layers": list(self.layers_read or ())}
