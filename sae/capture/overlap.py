"""Whether held-out rows are held out: questions that stand on both sides of a split."""

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
