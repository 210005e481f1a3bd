"""One problem opened: its question and reference steps, what each step of thinking reads as, what fires, the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sae.capture.conventions import step_name
from sae.report.visible import visible
from sae.report.words import steps_of
from sae.ui import address, example_filters, link, loaded, page, pickers, thought_data, thoughts_view
from sae.ui.panel import toolbar
from sae.ui.reproduce import Reproduce
from sae.ui.thought_chips import Firing, StepShown, thought_steps
from sae.ui.thought_words import position_text, read_thoughts, verdict
from sae.ui.thoughts_view import Shown
from sae.ui.words import number, plain
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

MANY = (5, 10, 20, 50)
_OPEN = "thought_feature_open"


def show(shown: Shown) -> None:
    """The problem that is chosen among those that the filters leave."""
    follow(shown)
    examples = shown.activations.examples
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="thought_filters"):
        wanted = example_filters.pick(examples)
        with st.container(width=160):
            text = pickers.pick_text("Search", name="q", placeholder="words of the question")
        found = thought_data.fitting(examples, wanted, text)
        place = _place(found, len(examples))
        layer, many = pick_runs(shown)
    if place is None:
        st.info("No problem fits. Take a filter away, or other words.")
        return
    example = int(found[place])
    line = examples.iloc[example]
    _problem(shown, found, place, line)
    words = read_thoughts(line.get("thoughts"))
    if not words:
        why = [str(one["reason"]) for one in shown.activations.manifest.get("skipped") or []
               if one.get("example") == example]  # fmt: skip
        st.info(plain(f"This problem was not thought through: {why[0]}." if why else "Its thoughts were not kept."))
        return

    def fires(run: RunFolder, step: int) -> list[tuple[int, float]]:
        return thought_data.firing(run, example)

    chips(shown, words, layer, many, fires, title=f"Problem {example:,}", name=f"problem-{example}", example=example)


def follow(shown: Shown) -> None:
    """Open the card of a feature that was clicked."""
    opened = st.session_state.pop(_OPEN, None)
    if opened is not None and shown.experiment is not None:
        run, feature = opened
        query = {"experiment": shown.experiment.name, "run": run, "feature": str(feature)}
        st.switch_page("pages/features.py", query_params=query)


def _place(found: np.ndarray, n: int) -> int | None:
    """Where the problem of the address stands among those that fit; the first if it is none of them."""
    asked = address.get("example")
    place = 0
    if asked is not None and asked.isdecimal() and int(asked) < n:
        here = np.flatnonzero(found == int(asked))
        place = int(here[0]) if len(here) else 0
        if not len(here) and len(found):
            page.note(f"Problem {asked} is not among those that fit; this is problem {found[0]}.")
    elif asked is not None:
        page.note(f"There is no problem {asked!r} here: they are numbered 0 to {n - 1:,}.")
    if not len(found):
        return None

    return place


def pick_runs(shown: Shown) -> tuple[int | None, int]:
    """The layer whose SAEs read the thoughts, and how many features are listed in a step."""
    if shown.experiment is None or not shown.trained:
        return None, MANY[0]
    layer = shown.trained[0]
    if len(shown.trained) > 1:
        layer = thoughts_view.pick_layer(shown, shown.trained)
    with st.container(width=95):
        many = pickers.pick_choice("Features", list(MANY), name="strongest", default=5, format=lambda n: f"{n} a step")
    return layer, int(many or MANY[0])


def _problem(shown: Shown, found: np.ndarray, place: int, line: pd.Series) -> None:
    """Question, reference steps and the model's answer: plain text, whatever it holds."""
    example = int(found[place])
    left, right = st.columns([1.7, 1], gap="medium")
    split = thought_data.split_of(shown.activations)[example]

    def go(to: int) -> None:
        address.choose(example=int(found[to]))

    with left, st.container(gap="xxsmall", key="thought_question"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f"Problem {example:,}, {split}: {place + 1:,} of {len(found):,}", width="stretch")
            st.button(
                "Previous", key="problem_previous", icon=":material/chevron_left:", on_click=go, args=(place - 1,),
                disabled=place == 0, type="tertiary",
            )  # fmt: skip
            st.button(
                "Next", key="problem_next", icon=":material/chevron_right:", icon_position="right", on_click=go,
                args=(place + 1,), disabled=place + 1 >= len(found), type="tertiary",
            )  # fmt: skip
        st.text(visible(line.get("question", "")))
    with right, st.container(gap="xxsmall", key="thought_answer"):
        steps = steps_of(line)
        st.caption(f"Reference: {len(steps)} {'step' if len(steps) == 1 else 'steps'}")
        st.text(visible("; ".join(steps)) or "no steps are known")
        answer(line.get("model_answer"), verdict(line), line.get("final_answer"), line.get("answer_log_prob"))


def answer(text: Any, right: str, reference: Any, log_prob: Any) -> None:
    """The model's answer, whether it is right, and how sure of it the model is."""
    if not isinstance(text, str):
        st.caption("The model's answer was not captured.")
        return
    colours = {"right": ":green[right]", "wrong": ":red[wrong]"}
    words = [f"Answer: **{plain(text) or '(nothing)'}**"]
    if right:
        known = isinstance(reference, int | float | np.number) and reference == reference
        words.append(colours[right] + (f" (reference {reference:,.10g})" if known else ""))
    if isinstance(log_prob, int | float | np.number) and log_prob == log_prob:
        words.append(f"log-probability {number(float(log_prob), 2)} nats")
    st.markdown(", ".join(words) + ".")


def chips(
    shown: Shown,
    words: list[list[tuple[str, float]]],
    layer: int | None,
    many: int,
    fires: Callable[[RunFolder, int], list[tuple[int, float]]],
    *,
    title: str,
    name: str,
    example: int | None = None,
) -> None:
    """The seven steps side by side, and their numbers as a table.

    Args:
        fires: the features of a run that fire in a step, the strongest first.
        name: for the files' names.
    """
    runs = {} if layer is None else thought_data.runs_at(shown.runs, layer, shown.choices)
    odd = thought_data.constant_places(shown.runs) if len(shown.runs) else set()
    steps, lines = [], []
    for step in range(max(len(words), max(shown.steps, default=-1) + 1)):
        read = words[step] if step < len(words) else []
        lines += [{"step": step, "name": step_name(step), "reads_as": w, "probability": p} for w, p in read]
        firing, more, note = None, 0, ""
        if step in runs:
            run = shown.workspace.run(runs[step])
            every = fires(run, step)
            firing, more = _firing(run, every[:many]), max(len(every) - many, 0)
            lines += [{"step": step, "name": step_name(step), "run": run.id, "feature": f, "activation": a}
                      for f, a in every]  # fmt: skip
            note = "near-constant slice: features say little here" if (layer, step) in odd else ""
        elif runs:
            note = "no run stands on this step"
        steps.append(StepShown(step_name(step), position_text(step, shown.convention), read[:4], firing, note, more))
    said = "Each step's hidden state reads as the words that the head is nearest to, with their probabilities."
    if runs:
        said += f" Below, the features that fire at layer {layer}, each shaded against its own largest activation."
    elif shown.experiment is not None:
        said += " No finished run of this configuration reads these steps."
    with link.panel("thought_steps"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown("**Steps of thinking**", width="stretch")
            toolbar(
                None, pd.DataFrame(lines), key="thought_steps_tools", title=title, filename=name,
                reproduce=_reproduce(shown, runs, example),
            )  # fmt: skip
        thought_steps(
            steps, key="thought_steps", theme=page.theme(),
            experiment=None if shown.experiment is None else shown.experiment.name, on_open=_opened,
        )  # fmt: skip
        st.caption(said)


def _opened(run: str, feature: int) -> None:
    st.session_state[_OPEN] = (run, feature)


def _firing(run: RunFolder, found: list[tuple[int, float]]) -> list[Firing]:
    largest, notes = loaded.features(run)["max_activation"], Notes(run.folder).all()
    listed = []
    for feature, value in found:
        size, note = float(largest.iloc[feature]), notes.get(feature)
        # A pasted problem may fire a feature that never fired before, or more strongly.
        top = max(abs(value), size if size == size else 0.0)
        listed.append(Firing(run.id, feature, value, top, note.label if note else ""))
    return listed


def _reproduce(shown: Shown, runs: Mapping[int, str], example: int | None) -> Reproduce:
    name = shown.activations.name
    if example is None:
        python = (
            "from sae.workspace import Workspace\nfrom sae.workspace.thinking import model_of, think_through\n\n"
            f'activations = Workspace.at().open_activations("{name}")\n'
            'think_through(model_of(activations), activations, "the problem").words'
        )
    else:
        python = (
            "import json\nfrom sae.workspace import Workspace\n\n"
            f'activations = Workspace.at().open_activations("{name}")\n'
            f'json.loads(activations.examples["thoughts"].iloc[{example}])'
        )
        for step, run in sorted(runs.items()):
            python += f'\n\nimport sae\n\nrun = sae.open("{run}")  # {step_name(step)}\n'
            python += f'row = run.slice.rows.query("example == {example}").index[0]\nrun.codes.row(row)'
            break
    reads = {f"activations/{name}/activations.npy": str(shown.activations.manifest["sha256"])}
    return Reproduce(f"python -m sae activations show {name} --json", python, reads)
