"""Which slice a run reconstructs, where it is not the one that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sae.capture.store import Slice
    from sae.training.config import TrainingConfig


def target_slice(piece: Slice, config: TrainingConfig) -> Slice | None:
    """What a run of that configuration on `piece` reconstructs; None for the slice itself.

    Raises:
        UserError: if there is no such slice, or it holds other examples.
    """
    place = config.target_place(piece.layer, piece.position)
    return None if place is None else piece.partner(*place)
