"""What may be set in training, as a list to choose from: names, kinds, defaults, choices and what each one means."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from functools import cache
from typing import Any, NamedTuple, get_type_hints

from sae.training.config import TrainingConfig, config_class
from sae.training.mechanisms_config import OFF


class Setting(NamedTuple):
    """`kind` is int, float, bool or str; `choices` is empty where any value of that kind goes."""

    name: str
    kind: type
    default: Any
    choices: tuple[str, ...]
    meaning: str


@cache
def settings(architecture: str) -> tuple[Setting, ...]:
    """Every field of an architecture's configuration: what all have, its own, those of mechanisms. `meaning` is the
    text under it in its source.
    """
    config = config_class(architecture)
    kinds = get_type_hints(config)
    said = {name: text for part in reversed(config.__mro__[:-1]) for name, text in _meanings(part).items()}
    return tuple(
        Setting(field.name, kinds[field.name], field.default, config.choices.get(field.name, ()), said[field.name])
        for field in sorted(dataclasses.fields(config), key=lambda field: field.name in OFF)
    )


def _meanings(config: type[TrainingConfig]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(config)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    before = None
    for node in body.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and before is not None:
            found[before] = inspect.cleandoc(str(node.value.value))
        before = node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else None
    return found
