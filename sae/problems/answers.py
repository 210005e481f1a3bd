"""A GSM8K answer taken apart: its `<<48/2=24>>` annotations as steps, and the number after `####`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sae.common.errors import UserError

from .examples import Step
from .expressions import ExpressionError, decimals, read_expression, read_number

# Neither pattern can scan the same text twice, so a hostile answer takes no longer than its length.
_ANNOTATION = re.compile(r"<<([^<>\n]*)>>")
_STRAY = re.compile(r"[<>]{2}|<[^<>=\n]{1,100}=[^<>=\n]{1,100}>")


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """Steps and final answer, and as (kind, text) pairs what was odd about them (kinds as in `Note`)."""

    steps: tuple[Step, ...]
    final: float
    oddities: tuple[tuple[str, str], ...]


def parse_answer(text: str) -> tuple[tuple[Step, ...], float]:
    """The steps of a GSM8K answer and its final answer.

    Annotations that cannot be read are left out here; `read_answer` returns them as well.

    Raises:
        UserError: there is no `####`, or no number after it.
    """
    parsed = read_answer(text)
    return parsed.steps, parsed.final


def read_answer(text: str) -> ParsedAnswer:
    """As `parse_answer`, with all that was odd: broken annotations, values that disagree, a second `####`.

    Raises:
        UserError: there is no `####`, or no number after it.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    body, marker, tail = text.rpartition("####")
    if not marker:
        raise UserError("the answer has no '####' with the final answer after it")
    final_text, _, after = tail.partition("\n")
    final = _final(final_text)
    steps: list[Step] = []
    oddities: list[tuple[str, str]] = []
    for line in body.split("\n"):
        _read_line(line, steps, oddities)
    if "####" in body:
        oddities.append(("final", "more than one '####': the last one counts"))
    if after.strip():
        oddities.append(("final", f"text after the final answer is ignored: {_excerpt(after.strip())}"))
    if not steps and not oddities:
        oddities.append(("no steps", "the answer has no <<...>> annotation"))
    return ParsedAnswer(tuple(steps), final, tuple(oddities))


def _final(text: str) -> float:
    text = _ANNOTATION.sub("", text).strip()
    if not text:
        raise UserError("nothing stands after '####'")
    try:
        # A percent sign here is a unit: GSM8K states 20 % as 20.
        return read_number(text.removesuffix("%"))
    except ExpressionError:
        raise UserError(f"the final answer is not a number: {_excerpt(text)}") from None


def _read_line(line: str, steps: list[Step], oddities: list[tuple[str, str]]) -> None:
    """Append the steps of one line of an answer, and what was odd in it."""
    shown = _ANNOTATION.sub("", line).strip()
    for match in _ANNOTATION.finditer(line):
        try:
            step, disagreement = _read_annotation(match[1], shown)
        except ExpressionError as error:
            oddities.append(("annotation", f"{_excerpt(match[0])} {error}"))
            continue
        steps.append(step)
        if disagreement:
            oddities.append(("value", disagreement))
    if stray := _STRAY.search(shown):
        oddities.append(("annotation", f"brackets that do not pair: {_excerpt(shown[stray.start() :])}"))


def _read_annotation(annotation: str, shown: str) -> tuple[Step, str | None]:
    """The step of `48/2=24`, and a sentence if 24 is not what 48/2 gives."""
    left, equals, right = annotation.rpartition("=")
    if not equals:
        raise ExpressionError("has no '='")
    if not right.strip():
        raise ExpressionError("has no value after '='")
    expression = read_expression(left)
    value = read_number(right)
    agrees = _agrees(expression.value, value, decimals(right))
    if "%" in right and not agrees:
        # `30/60*100=50%`: the sign is a unit of the result and no division by 100.
        bare = right.replace("%", "")
        if _agrees(expression.value, read_number(bare), decimals(bare)):
            value, agrees = read_number(bare), True
    step = Step(shown, left.strip(), expression.operands, expression.operations, value)
    if agrees:
        return step, None
    return (
        step,
        f"{_excerpt(f'<<{annotation}>>')} states {value:.15g}, its expression gives {expression.value:.15g}",
    )


def _agrees(computed: float, stated: float, places: int | None) -> bool:
    """Whether a stated value is the computed one, rounded up or down to the places it is written with."""
    exact = 1e-6 * max(abs(computed), abs(stated)) + 1e-9
    unit = 0.0 if places is None else 10.0**-places
    difference = abs(computed - stated)
    return difference <= exact or difference < unit - exact


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
