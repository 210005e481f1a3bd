"""How often a CODI model is right: as it is, with fewer thoughts, with a thought zeroed, and as a teacher."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sae.common.errors import UserError

from .forks import Thought

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


@dataclass(frozen=True)
class Trials:
    """Which answers are right, a mark a problem, under every change of the thinking.

    Attributes:
        thoughts: by the number of thoughts, 0 to the model's own.
        zeroed: by the thought whose input was a vector of zeros.
        teacher: after reasoning in words.
    """

    thoughts: dict[int, list[bool]]
    zeroed: dict[int, list[bool]]
    teacher: list[bool]


def trials(
    codi: Codi,
    examples: Sequence[Example],
    *,
    batch_size: int = BATCH,
    tick: Callable[[int], None] = lambda done: None,
) -> Trials:
    """Answer each problem with 0 to all thoughts, with each thought zeroed, and as the teacher.

    Each question is read and thought about once for all of these, and once more for the teacher.

    Raises:
        UserError: if a question is empty or too long.
    """
    n = len(examples)
    found = Trials(
        {number: [False] * n for number in range(codi.n_thoughts + 1)},
        {number: [False] * n for number in range(1, codi.n_thoughts + 1)},
        [False] * n,
    )
    ids = codi.encode([example.question for example in examples])
    with torch.inference_mode():
        for places in _batches(ids, batch_size, tick):
            asked = [ids[place] for place in places]
            posed = [examples[place] for place in places]
            thought = Thought.about(codi, asked)
            given = [(marks, codi.answer(thought.stopped(number))) for number, marks in found.thoughts.items()]
            given += [
                (marks, codi.answer(thought.again(number, zeroed=[number]))) for number, marks in found.zeroed.items()
            ]
            for marks, answers in [*given, (found.teacher, codi.reason(asked))]:
                for place, mark in zip(places, right(answers, posed), strict=True):
                    marks[place] = mark
    return found


def evaluate(
    codi: Codi,
    examples: Sequence[Example],
    *,
    control: Codi | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Accuracy of a model on problems, as one document.

    Problems with words that the model does not know are counted under `skipped` and not scored.

    Args:
        control: a model without thoughts, of the same size and samples; it answers the same problems.

    Returns:
        `model`, `kind`, `title`, `n`, `skipped`, `unknown_words` (the most frequent ones), `accuracy` (share by number
        of thoughts), `teacher`, `no_latent` (None without a control), `zeroed` (share by thought), `by_steps` (share
        and n by number of reasoning steps), `intervals` (Wilson, 95 %, under the same names).

    Raises:
        UserError: if no problem is left, or a question is empty or too long.
    """
    unknown = codi.unknown_words([example.question for example in examples])
    known = [example for example, words in zip(examples, unknown, strict=True) if not words]
    if not known:
        words = next((words for words in unknown if words), [])
        raise UserError(
            f"none of the {len(examples):,} problems is in this model's vocabulary (unknown: {', '.join(words[:5])})"
        )
    _fits(codi, known)
    found = trials(codi, known, tick=tick)
    own = found.thoughts[codi.n_thoughts]
    steps = [len(example.steps) for example in known]
    groups = {step: [mark for mark, s in zip(own, steps, strict=True) if s == step] for step in sorted(set(steps))}
    document: dict[str, Any] = {
        **{name: codi.source.get(name) for name in ("name", "kind", "title")},
        "n": len(known),
        "skipped": len(examples) - len(known),
        "unknown_words": _frequent(unknown),
        "n_thoughts": codi.n_thoughts,
        "accuracy": _shares(found.thoughts),
        "teacher": _share(found.teacher),
        "no_latent": None,
        "zeroed": _shares(found.zeroed),
        "by_steps": {str(step): {"share": _share(marks), "n": len(marks)} for step, marks in groups.items()},
        "intervals": {
            "accuracy": _intervals(found.thoughts),
            "teacher": wilson(sum(found.teacher), len(known)),
            "no_latent": None,
            "zeroed": _intervals(found.zeroed),
            "by_steps": _intervals(groups),
        },
    }
    document = {"model": document.pop("name"), **document}
    if control is not None:
        marks = right(answers_of(control, [example.question for example in known]), known)
        document["no_latent"] = _share(marks)
        document["intervals"]["no_latent"] = wilson(sum(marks), len(known))
    return document


def _fits(codi: Codi, examples: Sequence[Example]) -> None:
    """Raises UserError for the first question that is too long, by its line in the file that it came from."""
    for example, ids in zip(examples, codi.tokens([example.question for example in examples]), strict=True):
        if example.line is not None and codi.room is not None and len(ids) > codi.room:
            raise UserError(
                f"the question in line {example.line} (counted from 0) has {len(ids):,} tokens; with its thoughts and "
                f"answer this model takes {codi.room:,}: shorten it or take it out"
            )


def why_not_control(codi: Codi, control: Codi) -> str | None:
    """Why a model without thoughts is no control for another one; None if it is one."""
    if control.n_thoughts:
        return f"{control.source.get('name')} thinks {control.n_thoughts} thoughts"
    for name in ("n_layers", "d_model"):
        if getattr(codi, name) != getattr(control, name):
            return f"its {name} is {getattr(control, name)}, not {getattr(codi, name)}"
    one, other = (model.source.get("trained") or {} for model in (codi, control))
    for name in ("teacher_samples", "samples", "d_mlp", "n_heads"):
        if one.get(name) != other.get(name):
            return f"its {name} is {other.get(name)}, not {one.get(name)}"
    return None


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share of n (Wilson 1927); 95 % by default."""
    if n == 0:
        return float("nan"), float("nan")
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (max(0.0, middle - half) if right else 0.0), (min(1.0, middle + half) if right < n else 1.0)


def _in_batches(
    codi: Codi,
    questions: Sequence[str],
    answer: Callable[[list[list[int]]], list[Answer]],
    batch_size: int,
    tick: Callable[[int], None],
) -> list[Answer]:
    ids = codi.encode(questions)
    found: list[Answer | None] = [None] * len(ids)
    with torch.inference_mode():
        for places in _batches(ids, batch_size, tick):
            for place, given in zip(places, answer([ids[place] for place in places]), strict=True):
                found[place] = given
    return [given for given in found if given is not None]


def _batches(ids: Sequence[Sequence[int]], batch_size: int, tick: Callable[[int], None]) -> Iterator[list[int]]:
    """Places of questions of similar length; `tick` is told when a batch is done."""
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
        tick(min(start + batch_size, len(order)))


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


def _share(marks: Sequence[bool]) -> float:
    return sum(marks) / len(marks)


def _shares(marks: dict[int, list[bool]]) -> dict[str, float]:
    return {str(number): _share(column) for number, column in marks.items()}


def _intervals(marks: dict[int, list[bool]]) -> dict[str, tuple[float, float]]:
    return {str(number): wilson(sum(column), len(column)) for number, column in marks.items()}


def _frequent(unknown: Sequence[Sequence[str]], most: int = 20) -> list[str]:
    """The unknown words that most questions have."""
    return [word for word, _ in Counter(word for words in unknown for word in set(words)).most_common(most)]
