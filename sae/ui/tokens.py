"""Text highlighted by activation: one colour scale for all examples of a feature, its maximum stated.

The text of an example is whatever the data set holds, so it reaches the page as text nodes and never as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import streamlit as st

from sae.ui.elements import MAKE

Theme = Literal["light", "dark"]

# From a tint to the full colour, in sRGB: amber for what fires, blue for what fires below zero.
RAMPS: dict[Theme, dict[str, tuple[str, str]]] = {
    "light": {"above": ("#fff4d6", "#f2a11b"), "below": ("#e6f0fa", "#5da3dc")},
    "dark": {"above": ("#2c2312", "#8a5500"), "below": ("#14222f", "#1f5f96")},
}
INK: dict[Theme, str] = {"light": "#14171b", "dark": "#e6e3dc"}


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


def colour(value: float, maximum: float, theme: Theme = "light") -> str:
    """The background `#rrggbb` of an activation on a scale whose end is `maximum` (of |f|); "" for none."""
    if value == 0 or not maximum > 0:
        return ""
    low, high = RAMPS[theme]["above" if value > 0 else "below"]
    share = min(abs(value) / maximum, 1.0)
    return "#" + "".join(
        f"{round(int(low[i : i + 2], 16) * (1 - share) + int(high[i : i + 2], 16) * share):02x}" for i in (1, 3, 5)
    )


_CSS = """
.all { font-family: var(--st-font); color: var(--st-text-color); }
.scale { display: flex; align-items: center; gap: .5rem; font-size: .8rem; margin: 0 0 .4rem 0; }
.ramp, .value { border: 1px solid var(--st-border-color); border-radius: 3px; }
.ramp { display: inline-flex; height: .7rem; width: 9rem; overflow: hidden; }
.ramp i { flex: 1; }
.example { border-top: 1px solid var(--st-border-color); padding: .45rem 0 .5rem 0; }
.head { display: flex; gap: .6rem; align-items: baseline; font-size: .8rem; margin-bottom: .15rem; }
.head a { color: var(--st-link-color); }
.value { font-variant-numeric: tabular-nums; font-weight: 600; padding: 0 .35rem; }
.aside { margin-left: auto; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.55; font-size: .92rem; }
mark { color: inherit; border-radius: 2px; padding: .06em 0; }
mark.below { text-decoration: underline dotted 1px; text-underline-offset: 2px; }
.chips { display: flex; flex-wrap: wrap; gap: .3rem; margin: .3rem 0 .15rem 0; padding: 0; list-style: none; }
.chips li { border: 1px solid var(--st-border-color); border-radius: 4px; padding: .02rem .4rem; font-size: .82rem; }
.chips li.here { border-width: 2px; font-weight: 600; }
.chips .name { opacity: .75; margin-right: .35rem; }
.chips .share { opacity: .75; margin-left: .35rem; font-variant-numeric: tabular-nums; }
.line { font-size: .82rem; overflow-wrap: anywhere; }
.line b { font-weight: 600; margin-right: .4rem; }
summary { font-size: .8rem; cursor: pointer; width: max-content; }
dl { margin: .25rem 0 0 0; font-size: .8rem; display: grid; grid-template-columns: max-content 1fr; gap: .1rem .6rem; }
dt { font-weight: 600; }
dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
"""

_JS = (
    MAKE
    + """
export default function (component) {
  const { data, parentElement } = component
  const all = make("div", "all")
  const ink = element => { element.style.color = data.ink }
  const scale = make("div", "scale")
  if (data.ramp.length) {
    scale.append(make("span", "", data.low))
    const ramp = make("span", "ramp")
    ramp.setAttribute("aria-hidden", "true")
    for (const shade of data.ramp) { const i = make("i"); i.style.background = shade; ramp.append(i) }
    scale.append(ramp, make("span", "", data.high))
    all.append(scale)
  }
  for (const example of data.examples) {
    const box = make("section", "example")
    box.setAttribute("aria-label", example.heading)
    const head = make("div", "head")
    if (example.value) {
      const value = make("span", "value", example.value)
      if (example.shade) { value.style.background = example.shade; ink(value) }
      head.append(value)
    }
    const heading = make(example.href ? "a" : "span", "", example.heading)
    if (example.href) { heading.href = example.href; heading.target = "_self" }
    head.append(heading, make("span", "aside", example.aside))
    box.append(head)
    const text = make("div", "text")
    for (const [piece, shade, title] of example.pieces) {
      if (!shade) { text.append(document.createTextNode(piece)); continue }
      const mark = make("mark", title.startsWith("-") ? "below" : "", piece)
      mark.style.background = shade
      ink(mark)
      mark.title = title
      text.append(mark)
    }
    box.append(text)
    if (example.chips.length) {
      const chips = make("ol", "chips")
      for (const chip of example.chips) {
        const item = make("li", chip.here ? "here" : "")
        if (chip.here && example.shade) { item.style.background = example.shade; ink(item) }
        item.append(make("span", "name", chip.name), make("span", "", chip.word), make("span", "share", chip.share))
        item.title = chip.title
        chips.append(item)
      }
      box.append(chips)
    }
    for (const [term, words] of example.lines) {
      const line = make("div", "line")
      line.append(make("b", "", term), document.createTextNode(words))
      box.append(line)
    }
    if (example.details.length) {
      const more = make("details")
      more.append(make("summary", "", "Answer and labels"))
      const list = make("dl")
      for (const [term, words] of example.details) list.append(make("dt", "", term), make("dd", "", words))
      more.append(list)
      box.append(more)
    }
    all.append(box)
  }
  const root = parentElement.querySelector("#tokens")
  root.replaceChildren(all)
}
"""
)

# Mounted through a name of its own, so that a second import does not register it twice.
_strip = st.components.v2.component("sae_token_strip", html='<div id="tokens"></div>', css=_CSS, js=_JS)


def token_strip(
    examples: Iterable[Example],
    *,
    maximum: float,
    key: str,
    theme: Theme = "light",
    signed: bool = False,
    scale: bool = True,
    of: str = "this feature",
) -> None:
    """Show examples under each other, shaded on one scale whose end is `maximum` (the feature's largest |f|).

    Args:
        signed: whether the feature has values below zero; its scale then runs from blue to amber.
        scale: show the legend (once is enough for several strips of one feature).
        of: whose maximum it is, for the legend.
    """
    _strip(key=key, data=strip_data(list(examples), maximum=maximum, theme=theme, signed=signed, scale=scale, of=of))


def strip_data(
    examples: Sequence[Example],
    *,
    maximum: float,
    theme: Theme,
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
