"""The steps of one problem's thinking side by side: what each reads as, and the features that fire in it.

Words come from a model's vocabulary and labels from people, so they reach the page as text nodes, never as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from sae.figures.style import ThemeName
from sae.figures.tokens import INK, colour
from sae.ui.elements import MAKE
from sae.ui.thought_words import word_text


@dataclass(frozen=True)
class Firing:
    """A feature that fires: of which run, how strongly, the largest activation it has anywhere, its label."""

    run: str
    feature: int
    value: float
    largest: float
    label: str = ""


@dataclass(frozen=True)
class StepShown:
    """One step: its name and position, the nearest words with their probabilities, and the features that fire.

    `features` None: no run stands on this step; `note` says why, or what else there is to know.
    """

    name: str
    position: str
    words: Sequence[tuple[str, float]]
    features: Sequence[Firing] | None = None
    note: str = ""
    more: int = 0


_CSS = """
.all { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: .4rem;
  font-family: var(--st-font); color: var(--st-text-color); }
@media (max-width: 700px) { .all { grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); } }
section { border: 1px solid var(--st-border-color); border-radius: 5px; padding: .35rem .45rem .45rem; min-width: 0; }
.head { display: flex; justify-content: space-between; font-size: .8rem; }
.head b { font-weight: 600; }
.word { font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; line-height: 1.25; margin-top: .15rem; }
.shares { margin: .1rem 0 .3rem; padding: 0; list-style: none; font-size: .76rem; }
.shares li { display: flex; justify-content: space-between; gap: .3rem; position: relative; padding: 0 .15rem; }
.shares li span { position: relative; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.shares li i { position: absolute; inset: 1px auto 1px 0; background: var(--st-secondary-background-color);
  border-radius: 2px; }
.number { font-variant-numeric: tabular-nums; flex: none; }
.title { font-size: .76rem; border-top: 1px solid var(--st-border-color); padding-top: .25rem; opacity: .8; }
.features { margin: .2rem 0 0; padding: 0; list-style: none; display: grid; gap: 2px; }
a { display: flex; justify-content: space-between; gap: .3rem; padding: .08rem .35rem; border-radius: 3px;
  font-size: .8rem; text-decoration: none; color: inherit; border: 1px solid var(--st-border-color); }
a:hover, a:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 0; }
a .what { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-decoration: underline; }
.note { font-size: .76rem; opacity: .8; margin-top: .2rem; }
"""

_JS = (
    MAKE
    + """
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const all = make("div", "all")
  all.style.setProperty("--n", data.steps.length)
  for (const step of data.steps) {
    const box = make("section")
    box.setAttribute("aria-label", step.said)
    const head = make("div", "head")
    head.append(make("b", "", step.name), make("span", "", step.position))
    box.append(head)
    if (step.words.length) {
      box.append(make("div", "word", step.words[0].word))
      const shares = make("ol", "shares")
      for (const one of step.words) {
        const item = make("li")
        const bar = make("i")
        bar.style.width = one.width
        item.append(bar, make("span", "", one.word), make("span", "number", one.share))
        shares.append(item)
      }
      box.append(shares)
    }
    if (step.features) {
      box.append(make("div", "title", step.title))
      const list = make("ol", "features")
      for (const one of step.features) {
        const item = make("li")
        const link = make("a")
        link.href = one.href
        link.title = one.said
        if (one.shade) { link.style.background = one.shade; link.style.color = data.ink }
        link.append(make("span", "what", one.name), make("span", "number", one.value))
        link.onclick = event => {
          if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
          event.preventDefault()
          setTriggerValue("opened", { run: one.run, feature: one.feature })
        }
        item.append(link)
        list.append(item)
      }
      box.append(list)
    }
    if (step.note) box.append(make("div", "note", step.note))
    all.append(box)
  }
  parentElement.querySelector("#steps").replaceChildren(all)
}
"""
)

_draw = st.components.v2.component("sae_thought_steps", html='<div id="steps"></div>', css=_CSS, js=_JS)


def thought_steps(
    steps: Sequence[StepShown],
    *,
    key: str,
    theme: ThemeName = "light",
    experiment: str | None = None,
    on_open: Callable[[str, int], None] | None = None,
) -> None:
    """Show the steps. `on_open` is called with the run and the feature that was clicked."""

    def opened() -> None:
        found = st.session_state[key].get("opened")
        if found and on_open is not None:
            on_open(str(found["run"]), int(found["feature"]))

    _draw(key=key, data=steps_data(steps, theme, experiment), on_opened_change=opened)


def steps_data(steps: Sequence[StepShown], theme: ThemeName = "light", experiment: str | None = None) -> dict[str, Any]:
    """What the component draws: plain text, colours and addresses, JSON."""
    return {"ink": INK[theme], "steps": [_step(step, theme, experiment) for step in steps]}


def _step(step: StepShown, theme: ThemeName, experiment: str | None) -> dict[str, Any]:
    words = [
        {"word": word_text(word), "share": f"{100 * share:.1f} %", "width": f"{100 * min(max(share, 0), 1):.1f}%"}
        for word, share in step.words
    ]
    found = step.features
    title = None
    if found is not None:
        n = len(found) + step.more
        title = f"{n} {'feature' if n == 1 else 'features'}" + (f", strongest {len(found)}" if step.more else "")
    position = "" if step.position == "–" else f"position {step.position}"
    return {
        "name": step.name,
        "position": position,
        "said": f"{step.name}, {position}" if position else step.name,
        "words": words,
        "features": None if found is None else [_feature(one, theme, experiment) for one in found],
        "title": title,
        "note": step.note,
    }


def _feature(one: Firing, theme: ThemeName, experiment: str | None) -> dict[str, Any]:
    address = {"experiment": experiment} if experiment else {}
    name = f"{one.feature:,}" + (f" {one.label}" if one.label else "")
    return {
        "run": one.run,
        "feature": one.feature,
        "name": name,
        "value": f"{one.value:.3g}",
        "shade": colour(one.value, one.largest, theme),
        "said": f"Feature {name}: {one.value:.3g}; its largest activation is {one.largest:.3g}",
        "href": "features?" + urlencode({**address, "run": one.run, "feature": one.feature}),
    }
