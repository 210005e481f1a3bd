"""What reading an SAE from a file gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.models.base import SAE


@dataclass(frozen=True)
class Loaded:
    """An SAE and where it came from. `files` maps the name of each file that was read to its SHA-256."""

    model: SAE
    format: str
    path: Path
    files: dict[str, str]
    details: dict[str, Any] = field(default_factory=dict)
    """What the file says of itself: the model and hook it was trained on, layer, position."""
    changes: tuple[str, ...] = ()
    """What was folded into the weights on the way in, in words."""
