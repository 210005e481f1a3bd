"""Random states of a page: each is reached by a visitor's choices, and reopened from its address in a new session."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

from sae.workspace import Workspace

# What a visitor writes or uploads, and the form of a new experiment's name, are no view.
_NO_VIEW = ("label_", "note_", "lists_", "define_", "sign_in")
_WORDS = ("", "1", "a", "loaves", "k=4", "nothing has this")


def reopened(open_page: Callable[..., AppTest], stem: str, root: Workspace | Path, states: int, seed: int = 8) -> int:
    """Go through `states` states of a page and hold each against what its address shows; returns how many differ from
    the page's first. The clock stands still: "2 min ago" may turn to 3 between the two."""
    with patch("sae.ui.words.datetime", _Still):
        return _reopened(open_page, stem, root, states, seed)


class _Still(datetime):
    _begun = datetime.now().astimezone()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(cls._begun.timestamp(), tz)


def _reopened(open_page: Callable[..., AppTest], stem: str, root: Workspace | Path, states: int, seed: int) -> int:
    chance = random.Random(f"{stem} {seed}")
    at = open_page(stem, root)
    first, changed = shown(at), 0
    for _ in range(states):
        steps = _choose(at, chance)
        assert not at.exception, (stem, steps)
        address = _address(at)
        other = AppTest.from_file(at._script_path, default_timeout=60)
        other._page_hash = at._page_hash
        for name, values in address.items():
            other.query_params[name] = values
        other.run()
        there, here = shown(other), shown(at)
        assert there == here, f"{stem}?{address} after {steps}: {_difference(here, there)}"
        assert _address(other) == address, (stem, steps)
        changed += here != first
    return changed


def _address(at: AppTest) -> dict[str, list[str]]:
    values = {name: at.query_params[name] for name in at.query_params}
    return {name: [value] if isinstance(value, str) else list(value) for name, value in values.items()}


def shown(at: AppTest) -> dict[str, Any]:
    """Hashes of the tables and figures, and the words, that a page shows."""
    tables = [_hash(frame.value.to_csv()) for frame in at.dataframe]
    figures = [_hash(figure.proto.spec) for figure in at.get("plotly_chart")]
    texts = [element.value for kind in (at.title, at.subheader, at.markdown, at.caption) for element in kind]
    return {"tables": tables, "figures": figures, "texts": texts}


def _choose(at: AppTest, chance: random.Random) -> str | None:
    """Change one widget that belongs to the view, as a visitor would; returns what was done."""
    kinds = ("selectbox", "multiselect", "number_input", "text_input", "toggle", "button_group")
    every: list[Any] = [widget for kind in kinds for widget in at.get(kind)]
    widgets = [w for w in every if w.key and not w.key.startswith(_NO_VIEW) and not w.disabled]
    if not widgets:
        return None
    widget = chance.choice(widgets)
    if widget.type in ("selectbox", "button_group"):
        options = [text for text in widget.options if _settable(widget, text)]
        if not options:
            return None
        value = chance.choice(options)
        widget.set_value([value] if isinstance(widget.value, list) else value)
    elif widget.type == "multiselect":
        options = [text for text in widget.options if _settable(widget, text)]
        value = chance.sample(options, min(len(options), chance.randint(0, 2)))
        widget.set_value(value)
    elif widget.type == "number_input":
        low = widget.min if widget.min is not None else 0
        high = min(widget.max if widget.max is not None else 20, low + 20)
        value = type(widget.value)(chance.uniform(low, high)) if widget.value is not None else low
        widget.set_value(value)
    elif widget.type == "text_input":
        value = chance.choice(_WORDS)
        widget.set_value(value)
    else:
        value = not widget.value
        widget.set_value(value)
    at.run()
    return f"{widget.key} = {value!r}"


def _settable(widget: Any, text: str) -> bool:
    """AppTest takes an option by its text, but formats that again where it can."""
    try:
        return str(widget.format_func(text)) in widget.options
    except (AttributeError, KeyError, TypeError, ValueError):
        return True


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _difference(here: dict[str, Any], there: dict[str, Any]) -> str:
    lines = [
        f"{kind}: {set(map(str, here[kind])) ^ set(map(str, there[kind]))}"
        for kind in here
        if here[kind] != there[kind]
    ]
    return "; ".join(lines)[:1500]
