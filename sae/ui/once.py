"""What is worked out from things that all visitors share, kept as long as those things are asked for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")


def once(make: Callable[..., T], *shared: Any, **plain: Any) -> T:
    """`make(*shared, **plain)`, kept for the same objects and the same values.

    Args:
        make: a function of a module that depends on its arguments alone. Nobody may write to what it gives.
        shared: objects that are told apart by being others, and are never written to: what `sae.ui.loaded` hands out.
        plain: values that can be hashed: words, numbers, tuples of them.
    """
    if make.__closure__ is not None:
        raise TypeError(f"{make.__qualname__} reads more than its arguments: it can't be kept")
    shelf = _shelf(make.__module__, make.__qualname__)
    key = (*map(id, shared), *sorted(plain.items()))
    with _lock:
        kept = shelf.get(key)
    if kept is None:
        kept = shared, make(*shared, **plain)
    with _lock:
        # What is kept holds the objects: as long as the key is there, no other object can have their numbers.
        shelf.pop(key, None)
        shelf[key] = kept  # the last is the newest
        while len(shelf) > _MOST:
            del shelf[next(iter(shelf))]
    return kept[1]


_lock = Lock()
_MOST = 16  # of a function: what it gives may be as large as what is shared


@st.cache_resource(max_entries=256, show_spinner=False)
def _shelf(module: str, name: str) -> dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]]:
    return {}
