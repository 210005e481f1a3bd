"""Arithmetic as people write it in an answer: read and evaluated without `eval`.

Works from left to right with two stacks instead of recursion, so neither deep nesting nor a huge number can
bring the process down: both end as an `ExpressionError`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MAX_LENGTH = 2_000

_NUMBER = re.compile(
    r"""(?P<mixed>[0-9]+)[ ](?P<top>[0-9]{1,2})/(?P<bottom>[0-9]{1,2})(?![0-9.])   # 1 1/2
      | (?P<plain>
            (?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])                                   # 1,080
              |[0-9]{1,3}(?:[ ][0-9]{3})+(?![0-9])                                 # 80 000
              |[0-9]+)
            (?:\.[0-9]*)?
          | \.[0-9]+                                                               # .5
        )(?P<exponent>[eE][-+]?[0-9]+)?""",
    re.VERBOSE,
)
_OPERATORS = {
    "+": "+",
    "-": "-",
    "−": "-",
    "–": "-",
    "*": "*",
    "x": "*",
    "X": "*",
    "×": "*",
    "·": "*",
    "/": "/",
    "÷": "/",
}
_CLOSES = {")": "(", "]": "["}
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "negate": 3}
_CURRENCY = "$€£"


class ExpressionError(ValueError):
    """The text is not arithmetic that can be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Expression:
    """Operands and operators from left to right, and what the expression evaluates to."""

    operands: tuple[float, ...]
    operations: str
    value: float


def read_expression(text: str) -> Expression:
    """Read arithmetic with + - * / (also `x`, `×`, `÷`, `//`), parentheses, signs, `$`, `%`, commas and
    fractions.

    `20%` counts as 0.2. A sign in front of a number belongs to the operand: `71+-3` has operands 71 and -3
    and the one operation `+`. A number or parenthesis directly before a parenthesis multiplies it.

    Raises:
        ExpressionError: it is not such arithmetic, is longer than `MAX_LENGTH`, divides by zero or overflows.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    operands: list[float] = []
    operations: list[str] = []
    values: list[float] = []
    pending: list[str] = []
    sign = 1.0
    wants_operand = True
    at = 0

    def operator(symbol: str) -> None:
        while pending and pending[-1] not in "([" and _RANK[pending[-1]] >= _RANK[symbol]:
            _apply(pending.pop(), values)
        pending.append(symbol)
        operations.append(symbol)

    while at < len(text):
        char = text[at]
        if char.isspace() or char in _CURRENCY:
            at += 1
        elif wants_operand and char in "+-−–":
            sign = sign if char == "+" else -sign
            at += 1
        elif char in "([":
            if not wants_operand:
                operator("*")
            if sign < 0:
                pending.append("negate")
                sign = 1.0
            pending.append(char)
            wants_operand = True
            at += 1
        elif match := _NUMBER.match(text, at):
            if not wants_operand:
                if not text[:at].rstrip().endswith((")", "]")):
                    raise ExpressionError("two numbers with no operator between them")
                operator("*")
            number, at = _number(match, text)
            operands.append(sign * number)
            values.append(sign * number)
            sign = 1.0
            wants_operand = False
        elif wants_operand:
            raise ExpressionError(f"a number was expected at {_excerpt(text[at:])}")
        elif char in _CLOSES:
            while pending and pending[-1] not in "([":
                _apply(pending.pop(), values)
            if not pending or pending.pop() != _CLOSES[char]:
                raise ExpressionError("a parenthesis closes that was never opened")
            at += 1
        elif char in _OPERATORS:
            operator(_OPERATORS[char])
            wants_operand = True
            # `560//10` is how some annotations write a division.
            at += 2 if text.startswith("//", at) else 1
        else:
            raise ExpressionError(f"cannot be read at {_excerpt(text[at:])}")
    if wants_operand:
        raise ExpressionError("a number is missing at its end" if operands or pending else "it is empty")
    while pending:
        if pending[-1] in "([":
            raise ExpressionError("a parenthesis is never closed")
        _apply(pending.pop(), values)
    return Expression(tuple(operands), "".join(operations), values[0])


def read_number(text: str) -> float:
    """Read a single number: `1,080`, `-7`, `$.50`, `20%` (0.2), `1/2` or `1 1/2`.

    Raises:
        ExpressionError: it is something else, or too large for a float.
    """
    expression = read_expression(text)
    if expression.operations not in ("", "/"):
        raise ExpressionError("not a single number")
    return expression.value


def decimals(text: str) -> int | None:
    """How many decimal places a number is written with (`33.3` one, `20%` two); None for a fraction."""
    if any(c in text for c in "/÷eE"):
        return None
    places = len(text.partition(".")[2].strip(" %)]"))
    return places + 2 if "%" in text else places


def _number(match: re.Match[str], text: str) -> tuple[float, int]:
    """The number of a match and where the text goes on, a percent sign included."""
    if match["mixed"]:
        top, bottom = int(match["top"]), int(match["bottom"])
        if not 0 < top < bottom:
            raise ExpressionError(f"not a mixed number: {_excerpt(match[0])}")
        number = float(match["mixed"]) + top / bottom
    else:
        number = float(match["plain"].replace(",", "").replace(" ", "") + (match["exponent"] or ""))
    if not math.isfinite(number):
        raise ExpressionError(f"too large a number: {_excerpt(match[0])}")
    after = match.end()
    rest = text[after:].lstrip()
    if rest.startswith("%"):
        return number / 100, len(text) - len(rest) + 1
    return number, after


def _apply(symbol: str, values: list[float]) -> None:
    """Replace the topmost values by the result of one operator."""
    right = values.pop()
    if symbol == "negate":
        values.append(-right)
        return
    left = values.pop()
    if symbol == "/" and right == 0:
        raise ExpressionError("division by zero")
    results = {"+": left + right, "-": left - right, "*": left * right}
    value = left / right if symbol == "/" else results[symbol]
    if not math.isfinite(value):
        raise ExpressionError("its value is too large")
    values.append(value)


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:30] + "...")
