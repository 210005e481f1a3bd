"""The named experiments of this field, each as data. Importing this package does not import torch."""

from __future__ import annotations

from sae.common.errors import UserError
from sae.experiments.plan import Kind
from sae.experiments.topk_grid import TOPK_GRID

KINDS: dict[str, Kind] = {kind.name: kind for kind in (TOPK_GRID,)}


def kind_of(name: str) -> Kind:
    """The experiment kind of that name. Raises UserError for an unknown one."""
    if name not in KINDS:
        raise UserError(f"experiment kind {name!r} is not known: take one of {', '.join(KINDS)}")
    return KINDS[name]
