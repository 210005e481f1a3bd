"""The examples of a feature's card: which rows, their text, and where in it the feature is active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from sae.analysis.examples import feature_examples, token_values
from sae.capture.conventions import step_name
from sae.ui import empty, example_filters, loaded, page
from sae.ui.data_view import steps_of
from sae.ui.thought_words import is_thoughts, read_thoughts, supervised, verdict, word_text, words_text
from sae.ui.tokens import Chip, Example, segments

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Slice
    from sae.workspace.runs import RunFolder

LONGEST = 1500  # characters of one text on a card

# Columns of examples.parquet that are texts, numbers of their own or identifiers, and no labels.
NO_LABELS = frozenset(
    {"question", "answer", "steps", "line", "group", "model_answer", "model_number", "answer_log_prob", "thoughts"}
    | {"final_answer", "id"}
)


def strata(
    run: RunFolder,
    feature: int,
    per_stratum: int,
    pre_activation: np.ndarray | None = None,
    keep: np.ndarray | None = None,
) -> pd.DataFrame:
    """`sae.analysis.examples.feature_examples` of a run: row, example, activation, stratum.

    Args:
        keep: bool [n_rows], the rows to draw from; None: all.
    """
    return feature_examples(
        loaded.codes(run),
        feature,
        example=loaded.examples_by_row(run),
        per_stratum=per_stratum,
        pre_activation=pre_activation,
        keep=keep,
    )


def pick_rows(run: RunFolder) -> np.ndarray | None:
    """bool [n_rows]: rows of the problems that the visitor's filter leaves; None where it leaves all, or can't be."""
    examples = loaded.slice_of(run).activations.examples
    if not example_filters.offered(examples):
        return None
    with st.popover("Filter", icon=":material/filter_list:", key="card_filter"), st.container(horizontal=True):
        wanted = example_filters.pick(examples)
    return None if wanted.all() else wanted[loaded.examples_by_row(run)]


def thoughts_link(run: RunFolder, feature: int) -> None:
    """The way to one feature over layers and steps of thinking, where its rows are such steps."""
    if run.config.get("experiment") and run.config["data"].get("position") is not None:
        with page.errors_shown("reading the activations"):
            if is_thoughts(loaded.slice_of(run).activations.manifest):
                empty.link("thoughts", "Over thoughts", view="feature", run=run.id, feature=feature)


def row_note(piece: Slice) -> str:
    """What one row of a slice is whose examples have one row each, and what must be said of the model."""
    manifest = piece.activations.manifest
    if is_thoughts(manifest) and piece.position is not None:
        where = f"layer {piece.layer}, step {piece.position} ({step_name(piece.position)})"
        said = (
            f"One row an example: the hidden state at {where}, whose chip is marked. A chip is what its step reads as."
        )
        return f"{said} {supervised(manifest)}".strip()
    end = ", the hidden state at the end of the text." if manifest.get("positions") == "last" else "."
    return f"One row an example: the activation is that of the whole row{end}"


def shown(run: RunFolder, feature: int, lines: pd.DataFrame) -> list[Example]:
    """Lines of `strata` as the token strip draws them."""
    piece = loaded.slice_of(run)
    by_token, splits = has_tokens(piece), loaded.splits_by_row(run)
    return [
        one_example(run, piece, splits, feature, int(row), int(example), float(activation), by_token)
        for row, example, activation in zip(lines["row"], lines["example"], lines["activation"], strict=True)
    ]


def has_tokens(piece: Slice) -> bool:
    """Whether examples have a row for each token, so that activations have a place in the text."""
    if not {"char_start", "char_end"} <= set(piece.rows.columns):
        return False
    return len(piece.rows) > piece.rows["example"].nunique()


def one_example(
    run: RunFolder,
    piece: Slice,
    splits: np.ndarray,
    feature: int,
    row: int,
    example: int,
    activation: float,
    by_token: bool,
) -> Example:
    """One row's example with its text, shaded where the rows are tokens."""
    heading = f"Example {example:,}"
    aside = str(splits[row])
    details = example_details(piece.activations.examples, example, piece.activations.manifest.get("text"))
    if "question" not in piece.activations.examples:
        return Example(
            f"Row {row:,}", [("no text came with these activations", 0.0)], activation or None, aside, details
        )
    text = piece.activations.text(example)
    if is_thoughts(piece.activations.manifest):
        return _thought(run, piece, example, activation, aside, details)
    if not by_token:
        return Example(heading, [(cut(text, 0)[0], 0.0)], activation or None, aside, details)
    rows = loaded.rows_of_example(run, example)
    values = token_values(loaded.codes(run), feature, rows)
    starts = piece.rows["char_start"].to_numpy()[rows]
    ends = piece.rows["char_end"].to_numpy()[rows]
    strongest = int(np.abs(values).argmax()) if len(values) else 0
    part, offset = cut(text, int(starts[strongest]) if len(rows) else 0)
    pieces = segments(part, starts - offset, ends - offset, values)
    return Example(heading, pieces, activation or None, aside, details)


def _thought(
    run: RunFolder, piece: Slice, example: int, activation: float, aside: str, details: list[tuple[str, str]]
) -> Example:
    """A step of thinking has no text of its own: its problem, its place among the steps, the reference, the answer."""
    line = piece.activations.examples.iloc[example]
    lines = []
    if steps := steps_of(line):
        lines.append(("Reference steps", "; ".join(steps)))
    right = verdict(line)
    if _known(line.get("model_answer")):
        lines.append((f"Model's answer{', ' + right if right else ''}", str(line["model_answer"])[:300]))
    return Example(
        f"Example {example:,}",
        [(cut(piece.activations.text(example), 0)[0], 0.0)],
        activation or None,
        f"{aside}, answered {right}" if right else aside,
        [pair for pair in details if not pair[0].startswith("Model's answer")],
        chips=chips(line, piece.position),
        lines=lines,
        href=_in_thoughts(run, example),
    )


def _in_thoughts(run: RunFolder, example: int) -> str:
    """The address of a problem on the Thoughts page, under the run's configuration; "" for an SAE from elsewhere."""
    if not run.config.get("experiment"):
        return ""
    return "thoughts?" + urlencode({"view": "problem", "run": run.id, "example": example})


def chips(line: pd.Series, here: int | None = None) -> list[Chip]:
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


def example_details(examples: pd.DataFrame, example: int, text: str | None) -> list[tuple[str, str]]:
    """What is known about an example beside its text: reference answer, the model's, right or wrong, labels."""
    line = examples.iloc[example]
    found: list[tuple[str, str]] = []
    if text != "question+answer" and _known(line.get("answer")):
        found.append(("Reference answer", str(line["answer"])[:2000]))
    if _known(line.get("model_answer")):
        verdict = _verdict(line.get("correct"))
        found.append((f"Model's answer{verdict}", str(line["model_answer"])[:2000]))
    for name in label_columns(examples):
        if _known(line.get(name)):
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
