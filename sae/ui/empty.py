"""What a page shows where there is nothing yet: why, and the button that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

PAGES = Path(__file__).parents[2] / "pages"


def empty(title: str, why: str, links: Mapping[str, tuple[str, Mapping[str, str]]]) -> None:
    """A quiet box: what is missing, why, and where to go.

    Args:
        links: by label, a page's stem and what its address should say.
    """
    with st.container(border=True, key="empty_state"):
        st.markdown(f"**{title}**")
        st.markdown(why)
        with st.container(horizontal=True, gap="medium"):
            for label, (stem, choices) in links.items():
                link(stem, label, **choices)


def link(stem: str, label: str, **choices: object) -> None:
    """A link to another page with choices made; a choice of None is left out, and so is a page that is not there."""
    if not (PAGES / f"{stem}.py").exists():
        return
    chosen = {name: str(value) for name, value in choices.items() if value is not None}
    icon = ":material/arrow_forward:"
    st.page_link(f"pages/{stem}.py", label=label, icon=icon, query_params=chosen, width="content")


def no_activations() -> None:
    empty(
        "No activations yet",
        "An SAE is trained on hidden states of a language model. Capture some, import an array, or let the demo make "
        "some.",
        {
            "Capture activations": ("data", {"show": "capture"}),
            "Import an array": ("data", {"show": "import"}),
            "Start the demo": ("home", {}),
        },
    )


def no_experiments() -> None:
    empty(
        "No experiments yet",
        "An experiment is a grid of SAEs trained on the same activations.",
        {"Train a grid": ("train", {}), "Start the demo": ("home", {})},
    )


def no_runs() -> None:
    empty(
        "No finished run yet",
        "A run appears here as soon as it has been trained and measured.",
        {"Watch or start training": ("train", {"show": "watch"})},
    )
