"""Hidden states of a language model over problems become activations on disk; arrays from elsewhere are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layers import parse_layers

if TYPE_CHECKING:
    from .arrays import import_activations
    from .capturing import capture_language_model
    from .estimates import Estimate, estimate, estimate_thoughts
    from .pooled import capture_pooled, estimate_pooled
    from .statistics import slice_statistics, slices_table
    from .store import Activations, Slice, list_slices
    from .thoughts import capture_thoughts

__all__ = [
    "Activations",
    "Estimate",
    "Slice",
    "capture_language_model",
    "capture_pooled",
    "capture_thoughts",
    "estimate",
    "estimate_pooled",
    "estimate_thoughts",
    "import_activations",
    "list_slices",
    "parse_layers",
    "slice_statistics",
    "slices_table",
]

_WHERE = {
    "Activations": "store",
    "Estimate": "estimates",
    "Slice": "store",
    "capture_language_model": "capturing",
    "capture_pooled": "pooled",
    "capture_thoughts": "thoughts",
    "estimate": "estimates",
    "estimate_pooled": "pooled",
    "estimate_thoughts": "estimates",
    "import_activations": "arrays",
    "list_slices": "store",
    "slice_statistics": "statistics",
    "slices_table": "statistics",
}


def __getattr__(name: str) -> Any:
    # The command line and the pages import this at their start; numpy, pandas and torch come when they are needed.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
