"""What is known about each example, as yes-or-no labels: operations, steps, numbers, the answer, and other columns.

Columns of the examples that are read (each where it is there): `operations` (`+-*/` in order), `n_steps`, `steps`
(JSON, with a `value` each), `question`, `final_answer`, `correct`, and every other column with few values.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

LEAST_EXAMPLES = 20
LOWEST_RATE, HIGHEST_RATE = 0.01, 0.95
MOST_VALUES = 200
MOST_CLASSES = 30  # of more classes the entropy among a few examples says little

OPERATIONS = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}

# Columns that are texts, numbers of their own, names of one example, or that the labels above are made from.
_READ_OTHERWISE = frozenset(
    {
        "question", "answer", "steps", "operations", "n_steps", "final_answer", "correct", "line", "id", "group",
        "split", "operands", "values", "model_answer", "model_number", "answer_log_prob", "thoughts", "unknown_words",
    }
)  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,15})?(?!\d)")


@dataclass(frozen=True)
class Limits:
    """Which labels are used: those of enough examples, neither too rare nor too common, of columns with few values.

    Attributes:
        least_examples: with the label. lowest_rate, highest_rate: share of the examples with it.
        most_values: of a column; one with more is an identifier or a measurement.
        rare_first: values of too few examples are dropped before the values of a column are counted, so that an
            ontology's ids, of which most are rare, are labels too.
    """

    least_examples: int = LEAST_EXAMPLES
    lowest_rate: float = LOWEST_RATE
    highest_rate: float = HIGHEST_RATE
    most_values: int = MOST_VALUES
    rare_first: bool = False


@dataclass(frozen=True)
class Labels:
    """Labels of n examples.

    Attributes:
        table: a line a label: `family` (what it is a value of), `label` (in words), `exclusive` (each example that
            is known has exactly one label of the family, and there are 2 to 30 of them), `n` (examples of which it is
            known), `n_with`, `base_rate`, `used`, `reason` (why not; empty if it is).
        having: bool [n_examples, n_labels], which examples have the label.
        masks: bool [n_masks, n_examples], of which examples something is known.
        mask_of: int [n_labels], the line of `masks` that holds for a label.
    """

    table: pd.DataFrame
    having: csc_matrix
    masks: np.ndarray
    mask_of: np.ndarray

    @property
    def n_used(self) -> int:
        """How many labels features are compared with."""
        return int(self.table["used"].sum())


def labels_of(examples: pd.DataFrame, present: np.ndarray | None = None, limits: Limits | None = None) -> Labels:
    """Every label of the examples, with those that can't distinguish features marked as not used.

    Not used are labels of fewer than 20 examples, of under 1 % or over 95 % of them, and of columns with more than
    200 values, unless `limits` says otherwise.

    Args:
        examples: one line an example.
        present: bool [n_examples], which examples have rows at all; None: all. The others have no labels.
    """
    from scipy.sparse import csc_matrix

    limits = limits or Limits()

    here = np.ones(len(examples), bool) if present is None else np.asarray(present, bool)
    families = [family for family in _families(examples.reset_index(drop=True)) if family is not None]
    lines: list[dict[str, Any]] = []
    rows, starts, masks, mask_of = [np.empty(0, np.int64)], [0], [], []
    for family in families:
        known = family.known & here
        having = {name: found[known[found]] for name, found in family.having.items()}
        having = {name: found for name, found in having.items() if len(found)}
        n = int(known.sum())
        if family.limited and limits.rare_first:
            having = {name: found for name, found in having.items() if len(found) >= limits.least_examples}
        if not having:
            continue
        if family.limited and len(having) > limits.most_values:  # an identifier or a measurement: one line says so
            lines.append(_line(family, family.name, 0, n, False, len(having), limits))
            starts.append(starts[-1])
            masks.append(known)
            mask_of.append(len(masks) - 1)
            continue
        masks.append(known)
        total = sum(map(len, having.values()))
        exclusive = (
            1 < len(having) <= MOST_CLASSES
            and total == n
            and len(np.unique(np.concatenate(list(having.values())))) == n
        )
        for name in sorted(having, key=lambda one: (-len(having[one]), one)) if family.by_count else having:
            found = having[name]
            lines.append(_line(family, name, len(found), n, exclusive, len(having), limits))
            rows.append(found)
            starts.append(starts[-1] + len(found))
            mask_of.append(len(masks) - 1)
    columns = ["family", "label", "exclusive", "n", "n_with", "base_rate", "used", "reason"]
    indices = np.concatenate(rows)
    matrix = csc_matrix((np.ones(len(indices), bool), indices, starts), shape=(len(examples), len(lines)))
    every, place = (
        np.unique(np.array(masks), axis=0, return_inverse=True) if masks else (np.zeros((0, len(examples)), bool), [])
    )
    which = np.asarray(place, np.int64).reshape(-1)[mask_of] if masks else np.empty(0, np.int64)
    return Labels(pd.DataFrame(lines, columns=columns).astype({"used": bool, "exclusive": bool}), matrix, every, which)


@dataclass(frozen=True)
class _Family:
    """One question about an example: of which examples the answer is known, and who has which (ascending)."""

    name: str
    known: np.ndarray
    having: dict[str, np.ndarray]
    by_count: bool = False
    limited: bool = False


def _line(
    family: _Family, name: str, n_with: int, n: int, exclusive: bool, values: int, limits: Limits
) -> dict[str, Any]:
    rate = n_with / n
    if family.limited and values > limits.most_values:
        reason = f"{values:,} different values, more than {limits.most_values:,}"
    elif n_with < limits.least_examples:
        reason = f"fewer than {limits.least_examples} examples"
    elif rate < limits.lowest_rate:
        reason = f"under {limits.lowest_rate:.0%} of examples"
    elif rate > limits.highest_rate:
        reason = f"over {limits.highest_rate:.0%} of examples"
    else:
        reason = ""
    line = {"family": family.name, "label": name, "exclusive": exclusive, "n": n, "n_with": n_with}
    return line | {"base_rate": rate, "used": not reason, "reason": reason}


def _families(examples: pd.DataFrame) -> Iterable[_Family | None]:
    if "operations" in examples:
        operators = examples["operations"].map(
            lambda cell: "".join(c for c in "".join(cell) if c in OPERATIONS), na_action="ignore"
        )
        yield _several("operation", operators, lambda text: {f"uses {OPERATIONS[c]}" for c in text})
        first = operators.str[:1].replace("", None)
        yield _several("first operation", first, lambda operator: {f"first operation is {OPERATIONS[operator]}"})
    if "n_steps" in examples:
        yield _several(
            "number of steps", examples["n_steps"], lambda n: {f"{_text(n)} {'step' if n == 1 else 'steps'}"}
        )
    if "question" in examples:
        yield _several(
            "number in the question",
            examples["question"],
            lambda text: {f"question has {number}" for number in numbers_in(str(text))},
            by_count=True,
        )
    if "steps" in examples:
        yield _several(
            "intermediate value",
            examples["steps"],
            lambda text: {f"intermediate value {value}" for value in _values(text)},
            by_count=True,
        )
    if "final_answer" in examples:
        answer = pd.to_numeric(examples["final_answer"], errors="coerce").replace([np.inf, -np.inf], np.nan)
        yield _several("answer", answer, lambda value: {f"answer {number_text(value)}"}, by_count=True)
        whole = answer.where(answer == answer.round())
        yield _several("answer parity", whole, lambda value: {f"{'odd' if int(value) % 2 else 'even'} answer"})
    if "correct" in examples:
        yield _several(
            "model's answer", examples["correct"], lambda right: {f"answered {'right' if bool(right) else 'wrong'}"}
        )
    for name in examples.columns:
        if name not in _READ_OTHERWISE:
            yield _column(str(name), examples[name])


def _several(
    name: str, column: pd.Series, read: Callable[[Any], set[str]], *, by_count: bool = False, limited: bool = False
) -> _Family:
    """A family from one cell an example; an example whose cell is missing is not known."""
    known = column.notna().to_numpy(bool)
    having: dict[str, list[int]] = {}
    cells = column.tolist()  # one by one from a Series would take three times as long
    for line in np.flatnonzero(known).tolist():
        for label in read(cells[line]):
            having.setdefault(label, []).append(line)
    ordered = {label: np.array(having[label], np.int64) for label in sorted(having)}
    return _Family(name, known, ordered, by_count, limited)


def _column(name: str, column: pd.Series) -> _Family:
    """A column of its own: a label a value; a list, also one in JSON as problems keep it, a label an item."""
    said = name.replace("_", " ")

    def read(cell: Any) -> set[str]:
        if isinstance(cell, str) and cell.startswith("["):
            with contextlib.suppress(ValueError):
                cell = json.loads(cell)
        if isinstance(cell, list | tuple | set | np.ndarray):
            return {f"{said} {_text(item)}" for item in cell}
        return {f"{said} {_text(cell)}"}

    return _several(said, column, read, limited=True)


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | float | np.integer | np.floating):
        return number_text(float(value))
    return " ".join(str(value).split())[:80]


def numbers_in(text: str) -> set[str]:
    """The numbers that a text has in digits, without separators: `1,080` is `1080`, `$2.50` is `2.5`."""
    return {number_text(float(found.replace(",", ""))) for found in _NUMBER.findall(text)}


def number_text(value: float) -> str:
    """A number as a label says it: `12`, `2.5`."""
    if not np.isfinite(value):
        return str(value)
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.10g}"


def _values(text: Any) -> set[str]:
    """The values of all steps but the last, whose value is the answer."""
    try:
        values = [float(step["value"]) for step in json.loads(text)[:-1]]
    except (TypeError, ValueError, KeyError, OverflowError):
        return set()
    return {number_text(value) for value in values if np.isfinite(value)}
