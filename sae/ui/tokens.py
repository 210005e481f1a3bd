"""Text highlighted by activation: one colour scale for all examples of a feature, its maximum stated.

The text of an example is whatever the data set holds, so it reaches the page as text nodes and never as markup.
"""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from sae.figures.style import ThemeName
from sae.figures.tokens import Example, strip_data
from sae.ui.elements import MAKE

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
      if (!shade) { text.append(document.createTextNode(seen(piece))); continue }
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
    for (const [term, said] of example.lines) {
      const line = make("div", "line")
      line.append(make("b", "", term), document.createTextNode(seen(said)))
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
    theme: ThemeName = "light",
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
