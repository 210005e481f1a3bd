"""A figure as the browser is sent it: made once for all visitors who see the same, and never changed.

Plotly checks a figure while it is made, and copies it whenever it is drawn; on a busy server both take longer than
anything else on a page.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec

import streamlit as st

if TYPE_CHECKING:
    import plotly.graph_objects as go

P = ParamSpec("P")


@dataclass(frozen=True)
class Drawn:
    """A figure ready to be sent. What it holds is shared: nobody may write to it.

    Args:
        spec: `data` and `layout` as `go.Figure.to_dict` gives them.
        figure: gives the figure itself, for files.
    """

    spec: Mapping[str, Any]
    figure: Callable[[], go.Figure]

    @property
    def title(self) -> str:
        return str(self._title.get("text") or "")

    @property
    def subtitle(self) -> str:
        return str((self._title.get("subtitle") or {}).get("text") or "")

    @property
    def _title(self) -> Mapping[str, Any]:
        return self.spec["layout"].get("title") or {}

    def without_title(self) -> Drawn:
        """For a panel, whose head has the title: the space above the axes goes with it."""
        if not self.title:
            return self
        layout = {name: value for name, value in self.spec["layout"].items() if name != "title"}
        layout["margin"] = {**layout.get("margin", {}), "t": 14}
        return replace(self, spec={**self.spec, "layout": layout})

    def high(self, height: int) -> Drawn:
        """In another height, in px."""
        return replace(self, spec={**self.spec, "layout": {**self.spec["layout"], "height": height}})

    def for_streamlit(self) -> go.Figure:
        """What `st.plotly_chart` takes, and sends without a check or a copy."""
        return _ready()(self.spec)


def drawn(figure: go.Figure) -> Drawn:
    """A figure of one's own; it must not be changed any more."""
    return Drawn(figure.to_dict(), lambda: figure)


def kept(make: Callable[P, go.Figure], *arguments: P.args, **named: P.kwargs) -> Drawn:
    """`drawn(make(*arguments, **named))`, kept for whoever asks for the same.

    The same is decided by what the arguments hold, so nothing is ever shown that has changed since.

    Args:
        make: depends on its arguments alone: a function of a module.
        arguments, named: data, such as numbers, words, arrays and tables. The theme is one of them.
    """
    if make.__closure__ is not None:
        raise TypeError(f"{make.__qualname__} reads more than its arguments: its figure can't be kept")
    content = hashlib.blake2b(pickle.dumps((arguments, named), protocol=5)).hexdigest()
    return _kept(make.__module__, make.__qualname__, content, lambda: make(*arguments, **named))


@st.cache_resource(max_entries=512, show_spinner=False)
def _kept(module: str, name: str, content: str, _make: Callable[[], go.Figure]) -> Drawn:
    return drawn(_make())


@cache
def _ready() -> Callable[[Mapping[str, Any]], go.Figure]:
    import plotly.graph_objects as go

    class Ready(go.Figure):
        """A figure whose dictionary stands already: `st.plotly_chart` asks for nothing else."""

        def __init__(self, spec: Mapping[str, Any]) -> None:
            self._ready = spec

        def to_dict(self) -> dict[str, Any]:
            return dict(self._ready)

    return Ready
