"""What stands in a line of examples, in words: its reference steps, what its thoughts read as, right or wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SUPERVISED = "The layout of values over thoughts is a training target of this model."


def is_thoughts(manifest: Mapping[str, Any]) -> bool:
    """Whether activations are the steps of a model that thinks in hidden vectors."""
    return manifest.get("positions") == "thoughts"


def supervised(manifest: Mapping[str, Any]) -> str:
    """What must be said of a model whose thoughts were trained on the values on the way; empty for any other."""
    return SUPERVISED if (manifest.get("model") or {}).get("kind") == "supervised" else ""


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


def verdict(line: pd.Series | Mapping[str, Any]) -> str:
    """`right`, `wrong`, or nothing where that is not known."""
    import pandas as pd

    value = line.get("correct")
    return "" if value is None or pd.isna(value) else "right" if bool(value) else "wrong"


def steps_of(line: pd.Series | Mapping[str, Any]) -> list[str]:
    """`48/2 = 24` for each step of the reference answer; what can't be read is left out."""
    try:
        steps = json.loads(line["steps"])
    except (KeyError, TypeError, ValueError):
        return []
    said = []
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, dict) and "expression" in step:
            value = step.get("value")
            said.append(
                f"{step['expression']} = {value:,.10g}" if isinstance(value, int | float) else step["expression"]
            )
        elif isinstance(step, str):
            said.append(step)
    return said
