"""Steps of thinking in words: their names and positions by convention, what they read as, what must be said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae.capture.conventions import CONVENTIONS, position_of, step_name
from sae.report.words import is_thoughts, read_thoughts, supervised, verdict, word_text, words_text

if TYPE_CHECKING:
    from sae.capture.store import Activations

__all__ = [
    "SAID",
    "is_thoughts",
    "position_text",
    "read_thoughts",
    "slice_text",
    "step_text",
    "steps_of",
    "supervised",
    "trained_on",
    "verdict",
    "word_text",
    "words_text",
]

SAID = {name: f"{name.capitalize()} convention: {words}." for name, words in CONVENTIONS.items()}


def position_text(step: int, convention: str) -> str:
    """The position of a step as a convention counts it; a dash where it has none."""
    found = position_of(step, convention)
    return "–" if found is None else str(found)


def step_text(step: int, convention: str) -> str:
    """`position 3 (z3)`; `BOT` where the convention gives it no position."""
    position = position_text(step, convention)
    return step_name(step) if position == "–" else f"position {position} ({step_name(step)})"


def slice_text(layer: int | None, step: int, convention: str) -> str:
    """`layer 2, position 3 (z3)`."""
    place = step_text(step, convention)
    return place if layer is None else f"layer {layer}, {place}"


def steps_of(activations: Activations) -> list[int]:
    """The steps that its slices hold, ascending."""
    return sorted({piece.position for piece in activations.slices if piece.position is not None})


def trained_on(manifest: Mapping[str, Any], layer: int | None, step: int | None) -> str:
    """For a page about SAEs of one slice: which thought it is, by which convention, and what must be said of the model.

    Empty for activations that are no thoughts.
    """
    if not is_thoughts(manifest):
        return ""
    where = (
        f"Trained on {slice_text(layer, step, 'seed')} of {manifest['name']}, by the seed convention."
        if step is not None
        else ""
    )
    return f"{where} {supervised(manifest)}".strip()
