"""A problem of one's own: the model at hand thinks it through, and the features that light up are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.ui import address, page, thought_data, thought_problem
from sae.ui.thoughts_view import Shown
from sae.ui.words import plain

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder
    from sae.workspace.thinking import ThoughtThrough


def show(shown: Shown) -> None:
    """A box for the problem, and what the model makes of it."""
    thought_problem.follow(shown)
    examples = shown.activations.examples
    first = str(examples["question"].iloc[0]) if "question" in examples and len(examples) else ""
    address.prepare("problem", "", str)
    text = st.text_area(
        "Problem", key="problem", height=80, placeholder=first, on_change=address.changed, args=("problem", ""),
        max_chars=4000,
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="paste_controls"):
        # Leaving the box is what hands the text over; the button gives something to click for that.
        st.button("Think it through", type="primary", key="paste_go")
        if first:
            st.button("Take a captured problem", key="paste_first", on_click=address.choose,
                      kwargs={"problem": first})  # fmt: skip
        layer, many = thought_problem.pick_runs(shown)
    model = shown.activations.manifest.get("model") or {}
    title = plain(model.get("title") or model.get("name") or "the model")
    if not text or not text.strip():
        st.caption(f"Nothing is loaded until there is a problem. {title} then thinks it through on this machine.")
        return
    with page.errors_shown("thinking the problem through"):
        with st.spinner(f"{title} is read and thinks"):
            thought = _thought(shown, text.strip())
        st.markdown(f"**{title}**")
        thought_problem.answer(thought.answer, "", None, thought.log_prob)
        _steps(shown, thought, layer, many)


def _steps(shown: Shown, thought: ThoughtThrough, layer: int | None, many: int) -> None:
    from sae.workspace.thinking import firing

    def fires(run: RunFolder, step: int) -> list[tuple[int, float]]:
        return thought_data.strongest_first(*firing(run, thought))

    words = [list(step) for step in thought.words]
    thought_problem.chips(shown, words, layer, many, fires, title="Pasted problem", name="pasted-problem")


def _thought(shown: Shown, question: str) -> ThoughtThrough:
    manifest = shown.activations.manifest
    return _kept(str(shown.activations.folder), str(manifest["sha256"]), question, shown)


@st.cache_resource(max_entries=32, show_spinner=False)
def _kept(folder: str, sha256: str, question: str, _shown: Shown) -> ThoughtThrough:
    from sae.workspace.thinking import model_of, think_through

    return think_through(model_of(_shown.activations), _shown.activations, question)
