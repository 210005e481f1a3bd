"""What a page shows where there is nothing yet: why, and the button that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st

from sae.ui import address

_NONE = "there is none here yet"
PAGES = Path(__file__).parents[2] / "pages"


def empty(title: str, why: str, links: Mapping[str, tuple[str, Mapping[str, str]]]) -> None:
    """A quiet box: what is missing, why, and where to go.

    Args:
        links: by label, a page's stem and what its address should say.
    """
    with st.container(border=True, key="empty_state"):
        st.markdown(f"**{title}**")
        st.markdown(why)
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            for label, (stem, choices) in links.items():
                link(stem, label, **choices)


def link(stem: str, label: str, **choices: object) -> None:
    """A link to another page with choices made; a choice of None is left out, a list stands for several."""
    chosen = {
        name: [str(one) for one in value] if isinstance(value, list) else str(value)
        for name, value in choices.items()
        if value is not None
    }
    icon = ":material/arrow_forward:"
    if urlsplit(st.context.url or "").path.rstrip("/").endswith(f"/{stem}"):
        # A link to the page that is open would be drawn as the current one of a navigation.
        st.button(label, icon=icon, type="tertiary", key=f"link_{stem}_{label}", on_click=_go, args=(chosen,))
        return
    st.page_link(f"pages/{stem}.py", label=label, icon=icon, query_params=chosen, width="content")


def _go(choices: Mapping[str, str | list[str]]) -> None:
    """What following a link does: the address says these choices and nothing else."""
    address.choose(drop=[name for name in st.query_params if name not in choices], **choices)


def no_activations() -> None:
    address.say_missing("activations", _NONE)
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
    address.say_missing("experiment", _NONE)
    empty(
        "No experiments yet",
        "An experiment is a grid of SAEs trained on the same activations.",
        {"Train a grid": ("train", {}), "Start the demo": ("home", {})},
    )


def no_runs() -> None:
    for name in ("run", "runs"):
        address.say_missing(name, _NONE)
    empty(
        "No finished run yet",
        "A run appears here as soon as it has been trained and measured.",
        {"Watch or start training": ("train", {"show": "watch"})},
    )
