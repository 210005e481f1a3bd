"""The examples of a feature: their text, where in it the feature is active, and what is known about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.analysis.examples import token_values
from sae.capture.conventions import step_name
from sae.figures.tokens import Chip, Example, segments
from sae.report.words import is_thoughts, read_thoughts, steps_of, verdict, word_text, words_text

if TYPE_CHECKING:
    import pandas as pd

    from sae.analysis.codes import FeatureActivations
    from sae.capture.store import Slice

LONGEST = 1500  # characters of one text on a card

# Columns of examples.parquet that are texts, numbers of their own or identifiers, and no labels.
NO_LABELS = frozenset(
    {"question", "answer", "steps", "line", "group", "model_answer", "model_number", "answer_log_prob", "thoughts"}
    | {"final_answer", "id"}
)


@dataclass(frozen=True)
class Source:
    """Where the examples of a run's features come from.

    Attributes:
        splits: [n_rows], the split of each row of the slice.
        rows_of: the rows of an example within the slice, ascending.
        href: the address of an example's thoughts within the app; None where there is no app to lead to.
        longest: characters of a text.
    """

    codes: FeatureActivations
    piece: Slice
    splits: np.ndarray
    rows_of: Callable[[int], np.ndarray]
    href: Callable[[int], str] | None = None
    longest: int = LONGEST


def has_tokens(piece: Slice) -> bool:
    """Whether examples have a row for each token, so that activations have a place in the text."""
    if not {"char_start", "char_end"} <= set(piece.rows.columns):
        return False
    return len(piece.rows) > piece.rows["example"].nunique()


def one_example(source: Source, feature: int, row: int, example: int, activation: float) -> Example:
    """One row's example with its text, shaded where the rows are tokens."""
    piece = source.piece
    heading = f"Example {example:,}"
    aside = str(source.splits[row])
    line = piece.activations.example(example)
    details = example_details(line, piece.activations.manifest.get("text"))
    if "question" not in piece.activations.examples:
        return Example(
            f"Row {row:,}", [("no text came with these activations", 0.0)], activation or None, aside, details
        )
    text = piece.activations.text(example)
    if is_thoughts(piece.activations.manifest):
        return _thought(source, example, line, activation, aside, details)
    if not has_tokens(piece):
        return Example(heading, [(cut(text, 0, source.longest)[0], 0.0)], activation or None, aside, details)
    rows = source.rows_of(example)
    values = token_values(source.codes, feature, rows)
    starts = piece.rows["char_start"].to_numpy()[rows]
    ends = piece.rows["char_end"].to_numpy()[rows]
    strongest = int(np.abs(values).argmax()) if len(values) else 0
    part, offset = cut(text, int(starts[strongest]) if len(rows) else 0, source.longest)
    pieces = segments(part, starts - offset, ends - offset, values)
    return Example(heading, pieces, activation or None, aside, details)


def _thought(
    source: Source,
    example: int,
    line: Mapping[str, Any],
    activation: float,
    aside: str,
    details: list[tuple[str, str]],
) -> Example:
    """A step of thinking has no text of its own: its problem, its place among the steps, the reference, the answer."""
    piece = source.piece
    lines = []
    if steps := steps_of(line):
        lines.append(("Reference steps", "; ".join(steps)))
    right = verdict(line)
    if _known(line.get("model_answer")):
        lines.append((f"Model's answer{', ' + right if right else ''}", str(line["model_answer"])[:300]))
    return Example(
        f"Example {example:,}",
        [(cut(piece.activations.text(example), 0, source.longest)[0], 0.0)],
        activation or None,
        f"{aside}, answered {right}" if right else aside,
        [pair for pair in details if not pair[0].startswith("Model's answer")],
        chips=chips(line, piece.position),
        lines=lines,
        href=source.href(example) if source.href else "",
    )


def chips(line: pd.Series | Mapping[str, Any], here: int | None = None) -> list[Chip]:
    """The steps of one example's thinking as the words that they read as; `here` is the one to mark."""
    found = []
    for step, words in enumerate(read_thoughts(line.get("thoughts"))):
        word, share = words[0] if words else ("", None)
        others = f"{step_name(step)} reads as {words_text(words)}" if words else step_name(step)
        found.append(Chip(step_name(step), word_text(word), share, others, step == here))
    return found


def cut(text: str, around: int, longest: int = LONGEST) -> tuple[str, int]:
    """At most `longest` characters of `text` with the place `around` among them, and where they start."""
    if len(text) <= longest:
        return text, 0
    start = min(max(around - longest // 2, 0), len(text) - longest)
    return text[start : start + longest], start


def example_details(line: Mapping[str, Any], text: str | None) -> list[tuple[str, str]]:
    """What is known about an example beside its text: reference answer, the model's, right or wrong, labels."""
    found: list[tuple[str, str]] = []
    if text != "question+answer" and _known(line.get("answer")):
        found.append(("Reference answer", str(line["answer"])[:2000]))
    if _known(line.get("model_answer")):
        verdict = _verdict(line.get("correct"))
        found.append((f"Model's answer{verdict}", str(line["model_answer"])[:2000]))
    for name in line:
        if name not in NO_LABELS and _known(line[name]):
            found.append((name.replace("_", " "), _words(line[name])))
    return found[:14]


def label_columns(examples: pd.DataFrame) -> list[str]:
    """Columns that describe an example in few words: labels of the problems, and the user's own columns."""
    return [str(name) for name in examples.columns if name not in NO_LABELS]


def _known(value: Any) -> bool:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return False
    return not (isinstance(value, str | list | tuple | np.ndarray) and len(value) == 0)


def _verdict(value: Any) -> str:
    if not _known(value):
        return ""
    return ", right" if bool(value) else ", wrong"


def _words(value: Any) -> str:
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return ", ".join(str(item) for item in value)[:300]
    return str(value)[:300]
