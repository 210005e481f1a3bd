"""The model's own answers: how it is asked, which number it gave, whether that is right."""

from __future__ import annotations

import json
import math
import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sae.common.errors import UserError
from sae.common.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel

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
    from sae.problems import parse_answer

    found = []
    for number in range(len(examples)):
        row = examples.iloc[number]
        try:
            value = float(row["final_answer"]) if "final_answer" in examples else math.nan
        except (TypeError, ValueError):
            value = math.nan
        if math.isnan(value):
            try:
                value = parse_answer(str(row.get("answer", "")))[1]
            except UserError as error:
                raise UserError(f"answers can't be judged: example {number} has no final answer ({error})") from None
        found.append(value)
    return found


def is_right(given: float | None, reference: float) -> bool:
    """Equal up to the rounding of decimals: a relative 1e-6."""
    return given is not None and math.isclose(given, reference, rel_tol=1e-6, abs_tol=1e-6)


def collect_answers(
    model: LanguageModel, questions: list[str], journal: Path, batch_size: int, progress: Progress
) -> list[str | None]:
    """The model's greedy answer to each question; None where the question alone fills the model's context.

    Every finished batch is a line of `journal`, so that a killed run goes on where it was; a line that a kill cut
    off is written again.
    """
    prompts = [model.prompt(question, CHAT_PROMPT, PLAIN_PROMPT) for question in questions]
    lengths = model.prompt_lengths(prompts)
    answers: list[str | None] = [None] * len(prompts)
    readable = [i for i, length in enumerate(lengths) if model.context is None or length < model.context]
    # Longest first, as for the states; always the same batches.
    readable.sort(key=lambda i: (-lengths[i], i))
    batches = [readable[start : start + batch_size] for start in range(0, len(readable), batch_size)]
    finished = _read_journal(journal)
    done = 0

    def take(batch: list[int], written: list[str]) -> None:
        nonlocal done
        for place, answer in zip(batch, written, strict=True):
            answers[place] = answer
        done += len(batch)

    for batch, written in zip(batches, finished, strict=False):
        take(batch, written)
    left = batches[len(finished) :]
    generated = model.answer_batches(
        [[prompts[place] for place in batch] for batch in left],
        max_new_tokens=MAX_NEW_TOKENS,
        tick=lambda: progress.update(done, len(readable), "answers"),
    )
    with open(journal, "a", encoding="utf-8") as file, closing(generated):
        for batch, written in zip(left, generated, strict=True):
            written = [_own_part(answer) for answer in written]
            take(batch, written)
            file.write(json.dumps(written, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    progress.update(done, len(readable), "answers")
    return answers


def _own_part(answer: str) -> str:
    """Without the next question, which a model that only continues text goes on to make up."""
    return answer.split("\nQuestion:", 1)[0].strip()


def _read_journal(journal: Path) -> list[list[str]]:
    """The finished batches; the file is cut back to them."""
    if not journal.exists():
        return []
    whole, finished = 0, []
    with open(journal, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            finished.append(json.loads(line))
            whole += len(line)
    os.truncate(journal, whole)
    return finished
