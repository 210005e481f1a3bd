"""The rows that a run reads and writes, from `data` of its configuration: who wants them asks here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.capture.store import Activations, Slice


def rows_read(activations: Activations, data: Mapping[str, Any]) -> Slice:
    """What the run's feature activations stand on.

    Args:
        data: `layer` and `position`, as config.json has them.

    Raises:
        UserError: if the activations have no such rows.
    """
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
