"""The model's own answers: how it is asked, which number it gave, whether that is right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sae.common.errors import UserError
from sae.common.progress import Progress

from .journal import Journal

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel

    from .shards import Shards

#: What a model with a chat template is asked, as a user's turn.
CHAT_PROMPT = "{question}\n\nSolve this step by step, then end with 'The answer is N.' where N is a number."
#: What any other model is given to go on from.
PLAIN_PROMPT = "Question: {question}\nAnswer:"
MAX_NEW_TOKENS = 256

_MARK = re.compile(r"####|answer is", re.IGNORECASE)
# A minus sign belongs to the number where nothing that could be subtracted from stands before it.
_NUMBER = re.compile(r"(?:(?<![^\s(=:$*])(-))?\$?((?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")


def last_number(text: str) -> float | None:
    """The number a written answer ends on: the first one after the last `####` or `answer is`, else the last one.

    Thousands separators and a dollar sign are read as such; None if there is no number.
    """
    marks = list(_MARK.finditer(text))
    match = _NUMBER.search(text, marks[-1].end()) if marks else None
    if match is None:
        match = max(_NUMBER.finditer(text), key=lambda found: found.start(), default=None)
    if match is None:
        return None
    value = float(match[2].replace(",", ""))
    return None if math.isinf(value) else -value if match[1] else value


def reference_answers(examples: pd.DataFrame) -> list[float]:
    """The number that each example should end on: its `final_answer`, else what follows `####` in its `answer`.

    Raises:
        UserError: if an example has neither.
    """
    found = []
    for number, (value, reason) in enumerate(_references(examples)):
        if reason:
            raise UserError(f"answers can't be judged: example {number} has no final answer ({reason})")
        found.append(value)
    return found


def known_references(examples: pd.DataFrame) -> list[float]:
    """As `reference_answers`, NaN where an example has neither."""
    return [value for value, _ in _references(examples)]


def _references(examples: pd.DataFrame) -> Iterator[tuple[float, str]]:
    """The number of each example, or NaN and why there is none."""
    from sae.problems import parse_answer

    nothing = [None] * len(examples)
    finals = examples.get("final_answer", nothing)
    answers = examples.get("answer", nothing)
    for final, answer in zip(finals, answers, strict=True):
        try:
            value = math.nan if final is None else float(final)
        except (TypeError, ValueError):
            value = math.nan
        reason = ""
        if math.isnan(value):
            try:
                value = parse_answer("" if answer is None else str(answer))[1]
            except UserError as error:
                reason = str(error)
        yield value, reason


def is_right(given: float | None, reference: float) -> bool:
    """Equal up to the rounding of decimals: a relative 1e-6."""
    return given is not None and math.isclose(given, reference, rel_tol=1e-6, abs_tol=1e-6)


def answer_batches(model: LanguageModel, questions: list[str], batch_size: int) -> tuple[list[str], list[list[int]]]:
    """What the model is asked for each question, and the places of the questions in batches: longest first, always the
    same. A question that alone fills the model's context is in none."""
    prompts = [model.prompt(question, CHAT_PROMPT, PLAIN_PROMPT) for question in questions]
    lengths = model.prompt_lengths(prompts)
    readable = [i for i, length in enumerate(lengths) if model.context is None or length < model.context]
    readable.sort(key=lambda i: (-lengths[i], i))
    return prompts, [readable[start : start + batch_size] for start in range(0, len(readable), batch_size)]


def generate(
    model: LanguageModel, prompts: list[str], batches: list[list[int]], tick: Callable[[], None]
) -> Generator[list[str], None, None]:
    """The model's greedy answers, batch after batch; calls `tick` while it waits."""
    asked = [[prompts[place] for place in batch] for batch in batches]
    with closing(model.answer_batches(asked, max_new_tokens=MAX_NEW_TOKENS, tick=tick)) as generated:
        for written in generated:
            yield [_own_part(answer) for answer in written]


def collect_answers(
    model: LanguageModel,
    questions: list[str],
    journal: Path,
    batch_size: int,
    progress: Progress,
    shards: Shards | None = None,
) -> list[str | None]:
    """The model's greedy answer to each question; None where the question alone fills the model's context.

    Every finished batch is a line of `journal`, so that a killed run goes on where it was; a line that a kill cut
    off is written again.

    Args:
        shards: have the answers already.
    """
    prompts, batches = answer_batches(model, questions, batch_size)
    answers: list[str | None] = [None] * len(prompts)
    done, total = 0, sum(map(len, batches))

    def take(batch: list[int], written: list[str]) -> None:
        nonlocal done
        for place, answer in zip(batch, written, strict=True):
            answers[place] = answer
        done += len(batch)

    def tick() -> None:
        progress.update(done, total, "answers")

    with Journal(journal) as lines:
        for batch, written in zip(batches, lines.finished, strict=False):
            take(batch, written)
        left = batches[len(lines.finished) :]
        found = shards.answers(left, tick) if shards else generate(model, prompts, left, tick)
        with closing(found):
            for batch, written in zip(left, found, strict=True):
                take(batch, written)
                lines.add(written)
                lines.flush()
    tick()
    return answers


def _own_part(answer: str) -> str:
    """Without the next question, which a model that only continues text goes on to make up."""
    return answer.split("\nQuestion:", 1)[0].strip()
