"""What may be set in training, as a list to choose from: names, kinds, defaults, choices and what each one means."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from functools import cache
from typing import Any, NamedTuple, get_type_hints

from sae.training.config import _CHOICES, TrainingConfig


class Setting(NamedTuple):
    """`kind` is int, float, bool or str; `choices` is empty where any value of that kind goes."""

    name: str
    kind: type
    default: Any
    choices: tuple[str, ...]
    meaning: str


@cache
def settings() -> tuple[Setting, ...]:
    """Every field of `TrainingConfig`, in its order. `meaning` is the text under the field in its source."""
    kinds = get_type_hints(TrainingConfig)
    said = _meanings()
    return tuple(
        Setting(field.name, kinds[field.name], field.default, _CHOICES.get(field.name, ()), said.get(field.name, ""))
        for field in dataclasses.fields(TrainingConfig)
    )


def _meanings() -> dict[str, str]:
    body = ast.parse(inspect.getsource(TrainingConfig)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    before = None
    for node in body.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and before is not None:
            found[before] = inspect.cleandoc(str(node.value.value))
        before = node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else None
    return found
