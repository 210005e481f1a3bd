"""Causal language models: loading them safely, and reading the residual stream without running what is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loading import load
    from .model import LanguageModel, Tokens

__all__ = ["LanguageModel", "Tokens", "load"]

_WHERE = {"load": "loading", "LanguageModel": "model", "Tokens": "model"}


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so nothing of it is loaded before it is asked for.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
