"""What a problem is: question, answer, final answer and reasoning steps; and what could not be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Columns that `ProblemSet.table` computes; a label of the same name stands there as `NAME_label`.
COMPUTED_COLUMNS = ("question", "answer", "final_answer", "n_steps", "steps", "operations", "line")
_FIRST_LABELS = ("template", "phrasing", "group", "split")
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Step:
    """One calculation of an answer, as its `<<expression=value>>` annotation states it.

    Attributes:
        text: the line of the answer that the annotation stands in, without annotations.
        expression: the left side as written, e.g. `48/2`.
        operands: its numbers from left to right, sign and percent sign applied (`20%` is 0.2).
        operations: its operators from left to right, each one of `+-*/`; empty for a bare number.
        value: the right side, as written in the answer (not recomputed).
    """

    text: str
    expression: str
    operands: tuple[float, ...]
    operations: str
    value: float


@dataclass(frozen=True, slots=True)
class Example:
    """One problem.

    Attributes:
        question: the text of the question.
        answer: the whole reference answer in GSM8K's format.
        final_answer: the number after `####`.
        steps: the calculations, in order; may be empty.
        line: where it stood in its source, counted from 0; None for a generated problem.
        labels: anything else known about it. `group` says what must stay on one side of a split.
    """

    question: str
    answer: str
    final_answer: float
    steps: tuple[Step, ...]
    line: int | None = None
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def operations(self) -> str:
        """The operators of all steps in order, e.g. `*+`."""
        return "".join(step.operations for step in self.steps)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that could not be read as a problem; `line` is counted from 0."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} (counted from 0) skipped: {self.reason}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something odd in a problem that was kept; `line` is counted from 0.

    `kind` is `annotation` (a step that could not be read and is missing from `steps`), `value` (a step whose
    value is not what its expression gives), `final` (something odd about the final answer) or `no steps`.
    """

    line: int | None
    kind: str
    text: str

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line} (counted from 0): "
        return f"{place}{self.kind}: {self.text}"


@dataclass(frozen=True)
class ProblemSet:
    """Problems from one source, with every line that was skipped and every oddity that was noted.

    `source` says where they come from (`kind` and what it takes to get them again).
    """

    examples: tuple[Example, ...]
    skipped: tuple[Skipped, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    def table(self) -> pd.DataFrame:
        """One row an example, in order.

        Returns:
            A DataFrame with `question`, `answer`, `final_answer` (float), `n_steps` (int), `steps` (JSON list
            of objects with the fields of `Step`), `operations`, `line` (nullable integer), then one column a
            label. Labels that are lists or objects are JSON text, and a label column of mixed types is text,
            so that the table can always be written as Parquet.
        """
        import pandas as pd

        columns: dict[str, Any] = {
            "question": [e.question for e in self.examples],
            "answer": [e.answer for e in self.examples],
            "final_answer": pd.array([e.final_answer for e in self.examples], dtype="float64"),
            "n_steps": pd.array([len(e.steps) for e in self.examples], dtype="int64"),
            "steps": [steps_json(e.steps) for e in self.examples],
            "operations": [e.operations for e in self.examples],
            "line": pd.array([e.line for e in self.examples], dtype="Int64"),
        }
        for label in _label_names(self.examples):
            name = label
            while name in columns:
                name += "_label"
            columns[name] = label_column([e.labels.get(label) for e in self.examples])
        return pd.DataFrame(columns)


def steps_json(steps: Iterable[Step]) -> str:
    """The steps as a JSON list of objects with `text`, `expression`, `operands`, `operations` and `value`."""
    rows = [
        {
            "text": s.text,
            "expression": s.expression,
            "operands": list(s.operands),
            "operations": s.operations,
            "value": s.value,
        }
        for s in steps
    ]
    return json.dumps(rows, ensure_ascii=False)


def _label_names(examples: Iterable[Example]) -> list[str]:
    """All label names: those that the whole project knows first, the others in order of appearance."""
    seen: dict[str, None] = {}
    for example in examples:
        seen.update(dict.fromkeys(example.labels))
    return [n for n in _FIRST_LABELS if n in seen] + [n for n in seen if n not in _FIRST_LABELS]


def label_column(values: list[Any]) -> list[Any]:
    """Label values as one column that Parquet can hold."""
    cells = [
        json.dumps(v, ensure_ascii=False, default=str) if isinstance(v, (list, tuple, Mapping)) else v for v in values
    ]
    kinds = {type(c) for c in cells if c is not None}
    plain = kinds <= {bool} or kinds <= {str} or kinds <= {int, float}
    if plain and all(-_INT64 <= c < _INT64 for c in cells if isinstance(c, int)):
        return cells
    return [None if c is None else c if isinstance(c, str) else json.dumps(c, default=str) for c in cells]
