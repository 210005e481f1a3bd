"""The rows that a run reads and writes, from `data` of its configuration: who wants them asks here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae.capture.several_layers import SeveralLayers

if TYPE_CHECKING:
    from sae.capture.store import Activations, Slice


def rows_read(activations: Activations, data: Mapping[str, Any]) -> Slice:
    """What the run's feature activations stand on.

    Args:
        data: `layer` and `position`, as config.json has them; for a crosscoder also `layers`, those that it reads.

    Raises:
        UserError: if the activations have no such rows.
    """
    if data.get("layers"):
        return SeveralLayers.of(activations, data["layers"], data.get("position"))
    return activations.slice(data.get("layer"), data.get("position"))


def rows_written(activations: Activations, data: Mapping[str, Any]) -> Slice:
    """What it reconstructs, of the same examples in the same order: what it reads, but for a transcoder.

    Args:
        data: as `rows_read`; for a transcoder also `target`, the `layer` and `position` that it writes.

    Raises:
        UserError: as `rows_read`, or if those are rows of other examples.
    """
    read, target = rows_read(activations, data), data.get("target")
    return read.partner(target["layer"], target["position"]) if target else read


def rows_alike(activations: Activations, data: Mapping[str, Any]) -> list[Slice]:
    """All rows of these activations that the run could read: every slice, or every position of a crosscoder's layers.

    Raises:
        UserError: if the activations have not the rows that the run reads.
    """
    if not data.get("layers"):
        return list(activations.slices)
    first = rows_read(activations, data)
    assert isinstance(first, SeveralLayers)
    held = {(piece.layer, piece.position) for piece in activations.slices}
    positions = dict.fromkeys(piece.position for piece in activations.slices if piece.layer == first.layers[0])
    return [
        SeveralLayers.of(activations, first.layers, position)
        for position in positions
        if all((layer, position) in held for layer in first.layers)
    ]


def place_words(data: Mapping[str, Any]) -> list[str]:
    """What a run reads, in words: `["layers 1, 2", "position 3"]`; empty for pooled rows.

    Args:
        data: as `rows_read`.
    """
    found = [f"layers {', '.join(map(str, data['layers']))}"] if data.get("layers") else []
    return found + [f"{name} {data[name]}" for name in ("layer", "position") if data.get(name) is not None]
