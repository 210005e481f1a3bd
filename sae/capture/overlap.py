"""Whether held-out rows are held out, and examples come once: questions that stand twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import Activations


def question_overlap(activations: Activations) -> int | None:
    """How many held-out examples have a question that a training example has too, letter for letter.

    None where there are no questions.
    """
    examples, rows = activations.examples, activations.rows
    if "question" not in examples:
        return None
    first = rows.drop_duplicates("example").set_index("example")["split"].reindex(range(len(examples)))
    questions = examples["question"].reset_index(drop=True)
    trained = set(questions[first == "train"].dropna())
    return int(questions[first.isin(("validation", "test"))].isin(trained).sum())


def repeated_questions(activations: Activations) -> int | None:
    """How many examples have the question of an earlier one of the same split; None where there are no questions."""
    examples, rows = activations.examples, activations.rows
    if "question" not in examples:
        return None
    first = rows.drop_duplicates("example").set_index("example")["split"].reindex(range(len(examples)))
    known = examples.reset_index(drop=True).assign(split=first)[["question", "split"]].dropna()
    return int(known.duplicated().sum())
