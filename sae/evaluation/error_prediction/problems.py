"""What is predicted: of each problem, whether the model's greedy answer is wrong, and what belongs together."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

LEAST = 20  # wrong and right answers each
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")

#: The question-only baseline's features. The last one is not in the question: it is read off the reference answer.
QUESTION_FEATURES = ("words", "numbers", "largest number, log10(1 + x)", "steps of the reference answer")


@dataclass(frozen=True)
class Problems:
    """n problems, a row of the slice each.

    Attributes:
        rows, examples: int [n], the row within the slice and the problem's number.
        wrong: bool [n], True where the model's answer is wrong.
        group: int [n], 0 to the number of groups less 1; a group never stands on both sides of a split.
        grouped_by: where the groups come from, in words.
        question: float64 [n, 4], `QUESTION_FEATURES`.
        log_prob: float64 [n] in nats, of the model's own answer; None where it is not known for every problem.
        split: which split they are.
    """

    rows: np.ndarray
    examples: np.ndarray
    wrong: np.ndarray
    group: np.ndarray
    grouped_by: str
    question: np.ndarray
    log_prob: np.ndarray | None
    split: str

    @property
    def n_groups(self) -> int:
        return int(self.group.max()) + 1


def predicted_problems(rows: pd.DataFrame, examples: pd.DataFrame) -> Problems:
    """The problems of split `test` whose answer was judged; of `validation` where there is no test split.

    Never of `train`: the SAE has seen those.

    Args:
        rows: the slice's rows with `example` and `split`. examples: with `correct`.

    Raises:
        UserError: if nothing says which answers were right, a problem has several rows, or fewer than 20 answers are
            wrong or right.
    """
    if "correct" not in examples or examples["correct"].isna().all():
        raise UserError(
            "these activations don't say which answers were right (no column 'correct'): capture them with the model's "
            "answers (--answers), or import them with that column"
        )
    parts = rows["split"].to_numpy().astype(str)
    split = "test" if (parts == "test").any() else "validation"
    at = np.flatnonzero(parts == split)
    owner = rows["example"].to_numpy()[at]
    if len(np.unique(owner)) < len(owner):
        raise UserError(
            "this slice has several rows a problem: predict errors from activations with one row a problem in each "
            "slice (--positions last or thoughts)"
        )
    judged = examples["correct"].iloc[owner].notna().to_numpy()
    at, owner = at[judged], owner[judged]
    chosen = examples.iloc[owner]
    wrong = ~chosen["correct"].to_numpy().astype(bool)
    n, n_wrong = len(wrong), int(wrong.sum())
    if min(n_wrong, n - n_wrong) < LEAST:
        scarce = "wrong" if n_wrong < n - n_wrong else "right"
        accuracy = f"{100 * (n - n_wrong) / n:.1f} %" if n else "none"
        raise UserError(
            f"the model answers {accuracy} of {n:,} {split} problems right: {min(n_wrong, n - n_wrong)} {scarce} "
            f"answers are too few to predict ({LEAST} are needed); capture more problems (--test-problems), harder or "
            "easier ones"
        )
    keys, grouped_by = _groups(chosen)
    _, group = np.unique(np.array(keys, dtype=object).astype(str), return_inverse=True)
    for label, held in (("wrong", wrong), ("right", ~wrong)):
        if len(np.unique(group[held])) < 10:
            raise UserError(
                f"the {label} answers of the {split} problems come from {len(np.unique(group[held]))} groups only, too "
                "few to hold some out (10 are needed): capture more different problems"
            )
    log_prob = chosen["answer_log_prob"].to_numpy(float) if "answer_log_prob" in chosen else np.full(n, np.nan)
    return Problems(
        rows=at,
        examples=owner,
        wrong=wrong,
        group=group,
        grouped_by=grouped_by,
        question=_question(chosen),
        log_prob=log_prob if np.isfinite(log_prob).all() else None,
        split=split,
    )


def _groups(examples: pd.DataFrame) -> tuple[list[str], str]:
    """A key a problem: its `group`, else template and operands, else its text (one text twice is one problem)."""
    texts = (
        [f"text {question}" for question in examples["question"].astype(str)]
        if "question" in examples
        else [f"example {number}" for number in examples.index]
    )
    if "group" in examples and examples["group"].notna().any():
        given = examples["group"]
        keys = [t if missing else f"group {g}" for t, g, missing in zip(texts, given, given.isna(), strict=True)]
        return keys, "group"
    if "template" in examples and examples["template"].notna().any() and "steps" in examples:
        keys = []
        for text, template, steps in zip(texts, examples["template"], examples["steps"], strict=True):
            keys.append(text if template is None or template != template else f"template {template} {_operands(steps)}")
        return keys, "template and operands"
    return texts, "question" if "question" in examples else "problem"


def _steps(cell: Any) -> list[dict[str, Any]]:
    found = json.loads(cell) if isinstance(cell, str) and cell else []
    return found if isinstance(found, list) else []


def _operands(cell: Any) -> list[Any]:
    return [step.get("operands") for step in _steps(cell)]


def _question(examples: pd.DataFrame) -> np.ndarray:
    """[n, 4], `QUESTION_FEATURES`; 0 where there is nothing to read."""
    n = len(examples)
    table = np.zeros((n, 4))
    if "question" in examples:
        for place, text in enumerate(examples["question"].astype(str)):
            numbers = [float(found.replace(",", "")) for found in _NUMBER.findall(text)]
            table[place, :3] = len(text.split()), len(numbers), np.log10(1 + max(numbers, default=0.0))
    if "n_steps" in examples:
        table[:, 3] = examples["n_steps"].fillna(0).to_numpy(float)
    elif "steps" in examples:
        table[:, 3] = [len(_steps(cell)) for cell in examples["steps"]]
    return table
