"""Text shaded by activation: how a text is cut into pieces, and the colour of each; nothing here draws.

The pieces are whatever the data set holds: who draws them does so as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sae.figures.style import ThemeName

# From a tint to the full colour, in sRGB: amber for what fires, blue for what fires below zero.
RAMPS: dict[ThemeName, dict[str, tuple[str, str]]] = {
    "light": {"above": ("#fff4d6", "#f2a11b"), "below": ("#e6f0fa", "#5da3dc")},
    "dark": {"above": ("#2c2312", "#8a5500"), "below": ("#14222f", "#1f5f96")},
}
INK: dict[ThemeName, str] = {"light": "#14171b", "dark": "#e6e3dc"}


@dataclass(frozen=True)
class Chip:
    """A step of thinking: its name (`z3`), the word it reads as, that word's probability, and what else it reads as.

    `here` marks the step whose hidden state the example's activation belongs to.
    """

    name: str
    word: str
    share: float | None = None
    others: str = ""
    here: bool = False


@dataclass(frozen=True)
class Example:
    """One example of a card. `segments` are pieces of its text with the activation there (0: none).

    `value` is the largest activation in the example, in its sign; None where the feature is not active or the value
    belongs to no place in the text. `heading` and `aside` are short words of our own: which example, which split.
    `chips` are the steps of a model that thinks in vectors, `lines` what stands under them: a term and its words.
    `href` is an address within the app, where there is more about the example.
    """

    heading: str
    segments: Sequence[tuple[str, float]]
    value: float | None = None
    aside: str = ""
    details: Sequence[tuple[str, str]] = field(default=())
    chips: Sequence[Chip] = field(default=())
    lines: Sequence[tuple[str, str]] = field(default=())
    href: str = ""


def segments(
    text: str,
    starts: Sequence[int] | np.ndarray,
    ends: Sequence[int] | np.ndarray,
    values: Sequence[float] | np.ndarray,
) -> list[tuple[str, float]]:
    """Cut `text` into pieces of one activation each; neighbours without activation become one piece.

    Tokens are given by character offsets [n]. Where several tokens share characters (the bytes of one letter, say)
    the value of largest size holds. Text that no token covers counts as 0. The pieces joined are the text.
    """
    by_character = np.zeros(len(text), np.float64)
    edge = np.zeros(len(text) + 1, bool)
    order = np.argsort(np.abs(np.asarray(values, np.float64)), kind="stable")
    for token in order:
        start, end, value = int(starts[token]), int(ends[token]), float(values[token])
        start, end = max(start, 0), min(end, len(text))
        if end > start and value != 0:
            by_character[start:end] = value
            edge[start] = edge[end] = True
    pieces: list[tuple[str, float]] = []
    begin = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or by_character[at] != by_character[begin] or (edge[at] and by_character[at] != 0):
            pieces.append((text[begin:at], float(by_character[begin])))
            begin = at
    return pieces


def colour(value: float, maximum: float, theme: ThemeName = "light") -> str:
    """The background `#rrggbb` of an activation on a scale whose end is `maximum` (of |f|); "" for none."""
    if value == 0 or not maximum > 0:
        return ""
    low, high = RAMPS[theme]["above" if value > 0 else "below"]
    share = min(abs(value) / maximum, 1.0)
    return "#" + "".join(
        f"{round(int(low[i : i + 2], 16) * (1 - share) + int(high[i : i + 2], 16) * share):02x}" for i in (1, 3, 5)
    )


def strip_data(
    examples: Sequence[Example],
    *,
    maximum: float,
    theme: ThemeName,
    signed: bool = False,
    scale: bool = True,
    of: str = "this feature",
) -> dict[str, Any]:
    """What the component draws: plain text and colours, JSON."""
    steps = np.linspace(-1 if signed else 0, 1, 21 if signed else 12)
    ramp = [colour(float(step) * maximum, maximum, theme) or "transparent" for step in steps] if scale else []
    return {
        "ink": INK[theme],
        "ramp": ramp if maximum > 0 else [],
        "low": f"-{maximum:.3g}" if signed else "0",
        "high": f"{maximum:.3g} (largest activation of {of})",
        "examples": [
            {
                "heading": example.heading,
                "aside": example.aside,
                "value": "" if example.value is None else f"{example.value:.3g}",
                "shade": "" if example.value is None else colour(example.value, maximum, theme),
                "pieces": [
                    [piece, colour(value, maximum, theme), f"{value:.3g}" if value else ""]
                    for piece, value in example.segments
                ],
                "details": [list(pair) for pair in example.details],
                "chips": [
                    {
                        "name": chip.name,
                        "word": chip.word,
                        "share": "" if chip.share is None else f"{100 * chip.share:.0f} %",
                        "title": chip.others,
                        "here": chip.here,
                    }
                    for chip in example.chips
                ],
                "lines": [list(pair) for pair in example.lines],
                "href": example.href,
            }
            for example in examples
        ],
    }
