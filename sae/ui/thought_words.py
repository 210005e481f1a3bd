"""Steps of thinking in words: their names and positions by convention, what they read as, what must be said of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sae.capture.conventions import CONVENTIONS, position_of, step_name

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Activations

SAID = {name: f"{name.capitalize()} convention: {words}." for name, words in CONVENTIONS.items()}
SUPERVISED = "The layout of values over thoughts is a training target of this model."


def is_thoughts(manifest: Mapping[str, Any]) -> bool:
    """Whether activations are the steps of a model that thinks in hidden vectors."""
    return manifest.get("positions") == "thoughts"


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


def supervised(manifest: Mapping[str, Any]) -> str:
    """What must be said of a model whose thoughts were trained on the values on the way; empty for any other."""
    return SUPERVISED if (manifest.get("model") or {}).get("kind") == "supervised" else ""


def steps_of(activations: Activations) -> list[int]:
    """The steps that its slices hold, ascending."""
    return sorted({piece.position for piece in activations.slices if piece.position is not None})


def read_thoughts(cell: Any) -> list[list[tuple[str, float]]]:
    """The column `thoughts` of an example: by step the nearest words and their probabilities; [] if it has none."""
    try:
        steps = json.loads(cell)
        return [[(str(word), float(share)) for word, share in step] for step in steps]
    except (TypeError, ValueError):
        return []


def word_text(word: str) -> str:
    """A word of a vocabulary so that it can be seen: white space as marks."""
    shown = word.replace("\n", "↵").replace("\t", "⇥")
    return shown.strip() or "␣" * max(len(shown), 1)


def words_text(words: Sequence[tuple[str, float]]) -> str:
    """`24 at 71.0 %, 23 at 4.0 %`."""
    return ", ".join(f"{word_text(word)} at {100 * share:.1f} %" for word, share in words)


def verdict(line: pd.Series) -> str:
    """`right`, `wrong`, or nothing where that is not known."""
    import pandas as pd

    value = line.get("correct")
    return "" if value is None or pd.isna(value) else "right" if bool(value) else "wrong"


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
