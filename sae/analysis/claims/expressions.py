"""Arithmetic on a document's own numbers, written as text: `(1 - dead(5, 512)) * 512`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from sae.common.errors import UserError

_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST = 500


def value(text: str | float, names: Mapping[str, float | Callable[..., float]]) -> float:
    """The value of an expression of numbers, + - * /, `names`, and calls of those names that are functions.

    Raises:
        UserError: for anything else in it, an unknown name, or a division by zero.
    """
    if isinstance(text, int | float):
        return float(text)
    try:
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        return float(_value(ast.parse(text, mode="eval").body, names))
    except (SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError) as error:
        raise UserError(f"the expression {text[:80]!r} can't be worked out: {error}") from None


def _value(node: ast.expr, names: Mapping[str, float | Callable[..., float]]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names)
    if isinstance(node, ast.Name):
        found = names[node.id]
        if callable(found):
            raise ValueError(f"{node.id} needs arguments")
        return found
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        function = names[node.func.id]
        if not callable(function):
            raise ValueError(f"{node.func.id} is a number")
        return function(*(_value(argument, names) for argument in node.args))
    raise ValueError(f"{ast.unparse(node)} is not arithmetic")
