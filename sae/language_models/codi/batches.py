"""Problems as a CODI model is trained on them: token ids of question, reasoning and answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .vocabulary import answer_text, number_text, reasoning

if TYPE_CHECKING:
    from sae.problems.examples import Example

#: Problems are drawn so many at a time and batched by length, so that little is padded.
POOL = 4096


@dataclass(frozen=True)
class Lesson:
    """One problem. `intermediates`: the values on the way, without the answer, which no thought is taught."""

    question: list[int]
    reasoning: list[int]
    answer: list[int]
    intermediates: list[int]


@dataclass(frozen=True)
class Batch:
    """Lessons of one batch.

    Attributes:
        question, question_mask: [B, T], padded on the left.
        tail, tail_mask: [B, S], reasoning and answer, padded on the right.
        answer: [B, A], all of one length.
        teacher_at: [B], the place in `tail` of the token that predicts the answer's number.
        student_at: the same place in `answer`.
        intermediates: [B, n], ids of the values on the way; -100 where a problem has fewer.
    """

    question: Tensor
    question_mask: Tensor
    tail: Tensor
    tail_mask: Tensor
    answer: Tensor
    teacher_at: Tensor
    student_at: int
    intermediates: Tensor

    def __len__(self) -> int:
        return len(self.question)


def lessons_of(examples: Sequence[Example], tokenizer: Any) -> list[Lesson]:
    """Token ids of each problem. An answer is `The answer is: N` and the end; N must be one token."""
    end = tokenizer.eos_token_id
    questions = tokenizer([example.question for example in examples])["input_ids"]
    reasonings = tokenizer([reasoning(example) or "<<" for example in examples])["input_ids"]
    answers = tokenizer([answer_text(example) for example in examples])["input_ids"]
    lessons = []
    for example, question, thought, answer in zip(examples, questions, reasonings, answers, strict=True):
        values = [number_text(step.value) for step in example.steps[:-1]]
        lessons.append(
            Lesson(
                question,
                thought if len(example.steps) > 1 else [],
                [*answer, end],
                tokenizer.convert_tokens_to_ids(values),
            )
        )
    return lessons


def collate(lessons: Sequence[Lesson], pad: int) -> Batch:
    """One batch of lessons whose answers have the same number of tokens."""
    length = max(len(lesson.question) for lesson in lessons)
    tails = [[*lesson.reasoning, *lesson.answer] for lesson in lessons]
    longest = max(len(tail) for tail in tails)
    most = max(1, max(len(lesson.intermediates) for lesson in lessons))

    def tensor(rows: list[list[int]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.long)

    return Batch(
        question=tensor([[pad] * (length - len(x.question)) + x.question for x in lessons]),
        question_mask=tensor([[0] * (length - len(x.question)) + [1] * len(x.question) for x in lessons]),
        tail=tensor([tail + [pad] * (longest - len(tail)) for tail in tails]),
        tail_mask=tensor([[1] * len(tail) + [0] * (longest - len(tail)) for tail in tails]),
        answer=tensor([x.answer for x in lessons]),
        teacher_at=tensor([[len(tail) - 3] for tail in tails]).squeeze(1),
        student_at=len(lessons[0].answer) - 3,
        intermediates=tensor([x.intermediates + [-100] * (most - len(x.intermediates)) for x in lessons]),
    )


def endless(tokenizer: Any, pad: int, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
    """Batches of fresh problems, the same for the same seed; `skip` leaves out the first ones.

    Drawn is from what the generator does not hold out: numbers, phrasings and templates.
    """
    from sae.problems import generate

    generator = torch.Generator()
    per_pool = POOL // batch_size
    pool = skip // per_pool
    skip %= per_pool
    while True:
        generator.manual_seed(seed * 1_000_003 + pool)
        lessons = lessons_of(generate(POOL, seed=seed * 1_000_003 + pool).examples, tokenizer)
        order = sorted(range(len(lessons)), key=lambda i: (len(lessons[i].question), i))
        groups = [order[start : start + batch_size] for start in range(0, per_pool * batch_size, batch_size)]
        for number in torch.randperm(len(groups), generator=generator).tolist()[skip:]:
            yield collate([lessons[i] for i in groups[number]], pad)
        pool, skip = pool + 1, 0
