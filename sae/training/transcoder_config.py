"""Configuration of transcoders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.topk_config import SelectedConfig

PLACE = re.compile(r"same|[+-]?\d+")


@dataclass(frozen=True)
class TranscoderConfig(SelectedConfig):
    """Settings of a transcoder: what it reads is the slice of its run, what it writes is named here."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **SelectedConfig.choices,
        "decoder_init": ("rows", "random", "zero"),
    }

    architecture: str = "transcoder"
    target_layer: str = "+1"
    """The layer that is reconstructed: its number, a number with a sign for one so many layers further on or back, or
    `same`."""
    target_position: str = "same"
    """The position, or step of thought, that is reconstructed, named as the layer is."""
    skip: bool = False
    """Whether a linear map of what is read is added to what the features write; it starts at 0."""
    decoder_init: str = "rows"
    """`rows`: each feature starts between what a random training row reads and what it writes there. `random`:
    PyTorch's default for a linear layer reads, unit rows write. `zero`: the same, but nothing is written; it needs
    `decoder_norm=initial`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("target_layer", "target_position"):
            if not PLACE.fullmatch(getattr(self, name)):
                raise UserError(f"{name} {getattr(self, name)!r} must be a number, one with a sign such as +1, or same")
        if self.decoder_init == "zero" and self.decoder_norm == "every_step":
            raise UserError("decoder_init=zero needs decoder_norm=initial: rows of 0 can't be brought to unit norm")
        if self.reallocation or self.prune:
            raise UserError(
                "reallocation and prune start features in one direction that is read and written: a transcoder's "
                "features have two"
            )

    def target_place(self, layer: int | None, position: int | None) -> tuple[int | None, int | None]:
        found = (_place("layer", self.target_layer, layer), _place("position", self.target_position, position))
        if found == (layer, position):
            raise UserError("a transcoder writes another slice than it reads: set target_layer or target_position")
        return found

    def widths(self, d_in: int) -> tuple[int, ...]:
        return d_in, d_in

    def model(self) -> dict[str, Any]:
        return {**super().model(), "skip": self.skip}


def _place(what: str, wanted: str, here: int | None) -> int | None:
    if wanted == "same":
        return here
    if wanted[0] not in "+-":
        return int(wanted)
    if here is None:
        raise UserError(f"target_{what} {wanted} counts from a {what}, and these rows have none")
    return here + int(wanted)
