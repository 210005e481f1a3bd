"""Which slice a run reconstructs, where it is not the one that it reads, and which layers a crosscoder has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sae.capture.several_layers import layers_at
from sae.common.errors import UserError
from sae.training.config import from_settings

if TYPE_CHECKING:
    from sae.capture.store import Activations, Slice
    from sae.experiments.plan import RunPlan
    from sae.training.config import TrainingConfig


def target_slice(piece: Slice, config: TrainingConfig) -> Slice | None:
    """What a run of that configuration on `piece` reconstructs; None for the slice itself.

    Raises:
        UserError: if there is no such slice, or it holds other examples.
    """
    place = config.target_place(piece.layer, piece.position)
    return None if place is None else piece.partner(*place)


def with_layers(run: RunPlan, activations: Activations) -> RunPlan:
    """The run with the layers that it reads at once written out; one that reads a slice as it is.

    Raises:
        UserError: if one layer is given to read as well, or the activations don't hold several.
    """
    if not run.config.several_layers:
        return run
    if run.layer is not None:
        raise UserError("a crosscoder reads several layers: leave the layer out, and name them with layers=1+2+3")
    if run.config.layers_read is not None:
        return run
    found = "+".join(map(str, layers_at(activations, run.position)))
    return replace(run, config=from_settings({**run.config.as_dict(), "layers": found}))
