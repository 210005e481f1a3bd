"""How often a CODI model is right: as it is, with fewer thoughts, with a thought zeroed, and as a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sae.problems.examples import Example

    from .model import Answer, Codi

BATCH = 128


def answers_of(
    codi: Codi,
    questions: Sequence[str],
    *,
    n_thoughts: int | None = None,
    zeroed: Collection[int] = (),
    batch_size: int = BATCH,
    tick: Callable[[int], None] = lambda done: None,
) -> list[Answer]:
    """Greedy answers after thinking. `tick` is told how many questions are done.

    Raises:
        UserError: if a question is empty or too long.
    """

    def some(ids: list[list[int]]) -> list[Answer]:
        return codi.answer(codi.think(ids, n_thoughts=n_thoughts, zeroed=zeroed))

    return _in_batches(codi, questions, some, batch_size, tick)


def teacher_answers(codi: Codi, questions: Sequence[str], *, batch_size: int = BATCH) -> list[Answer]:
    """Greedy answers after reasoning in words. Raises UserError as `answers_of`."""
    return _in_batches(codi, questions, codi.reason, batch_size, lambda done: None)


def _in_batches(
    codi: Codi,
    questions: Sequence[str],
    answer: Callable[[list[list[int]]], list[Answer]],
    batch_size: int,
    tick: Callable[[int], None],
) -> list[Answer]:
    ids = codi.encode(questions)
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    found: list[Answer | None] = [None] * len(ids)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            for place, given in zip(places, answer([ids[place] for place in places]), strict=True):
                found[place] = given
            tick(min(start + batch_size, len(order)))
    return [given for given in found if given is not None]


def right(answers: Sequence[Answer], examples: Sequence[Example]) -> list[bool]:
    """Which answers are the example's final answer."""
    return [
        given.number is not None and math.isclose(given.number, example.final_answer, rel_tol=1e-6, abs_tol=1e-6)
        for given, example in zip(answers, examples, strict=True)
    ]


def accuracy(codi: Codi, examples: Sequence[Example], **how: object) -> float:
    """Share of right answers; `how` as in `answers_of`."""
    given = answers_of(codi, [example.question for example in examples], **how)  # type: ignore[arg-type]
    return sum(right(given, examples)) / len(examples)


def teacher_accuracy(codi: Codi, examples: Sequence[Example]) -> float:
    """Share of right answers when it reasons in words."""
    return sum(right(teacher_answers(codi, [e.question for e in examples]), examples)) / len(examples)
