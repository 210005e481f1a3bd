"""Factors whose values are whole sets of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sae.common.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """Settings of training under a name. `meaning`: a line on them for people. `text`: what the document says that they
    go back to, in its own words."""

    settings: dict[str, Any]
    meaning: str
    text: str = ""


def recipe(factor: str, recipes: Mapping[str, Recipe], name: Any) -> dict[str, Any]:
    """Settings of a recipe. Raises UserError for an unknown one."""
    if name not in recipes:
        raise UserError(f"{factor} {name!r} is not known: take one of {', '.join(recipes)}")
    return recipes[name].settings
