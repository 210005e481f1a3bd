"""Texts that a language model reads for an evaluation: held-out examples of a capture, or a table of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sae.common.errors import UserError
from sae.common.json_lines import json_lines
from sae.common.parquet import check_parquet

if TYPE_CHECKING:
    from sae.experiments.measurement import Case

#: Columns that hold a text, the first that is there.
COLUMNS = ("text", "question")


def held_out_texts(case: Case) -> tuple[str, np.ndarray, list[str]]:
    """The split, the example numbers and the texts of the capture's test examples, or validation examples.

    Raises:
        UserError: if there are none, or their text is not known.
    """
    split = "test" if len(case.slice.test_rows) else "validation"
    rows = case.slice.test_rows if split == "test" else case.slice.validation_rows
    examples = np.unique(case.slice.rows["example"].to_numpy()[rows])
    activations = case.activations
    if not len(examples):
        raise UserError(f"{case.slice.title} of {activations.name!r} has no held-out examples to read")
    if "question" not in activations.examples:
        raise UserError(f"{activations.name!r} does not say the texts of its examples: give a table of texts")
    return split, examples, [activations.text(int(example)) for example in examples]


def read_texts(path: str) -> list[str]:
    """The texts of a `.jsonl`, `.csv` or `.parquet` table, in its column `text` (else `question`).

    Raises:
        UserError: if there is no such file or column, a line can't be read, or no text is left. Lines count from 0.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"table {path!r} is not a file that is here")
    kind = file.suffix.lower()
    if kind not in (".jsonl", ".csv", ".parquet"):
        raise UserError(f"table {file.name!r}: give a .jsonl, .csv or .parquet file")
    texts = _jsonl(file) if kind == ".jsonl" else _table(file, kind)
    if not texts:
        raise UserError(f"table {file.name!r} holds no text")
    return texts


def _jsonl(file: Path) -> list[str]:
    found = []
    for where, record in json_lines(file):
        text = next((record[name] for name in COLUMNS if name in record), None) if isinstance(record, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where} has no {' or '.join(COLUMNS)} that is a text")
        found.append(text)
    return found


def _table(file: Path, kind: str) -> list[str]:
    import pandas as pd
    import pyarrow as pa

    try:
        if kind == ".parquet":
            check_parquet(file)
        table = pd.read_csv(file) if kind == ".csv" else pd.read_parquet(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"table {file.name!r} can't be read ({error})") from None
    column = next((name for name in COLUMNS if name in table), None)
    if column is None:
        raise UserError(f"table {file.name!r} has no column {' or '.join(COLUMNS)}")
    for number, text in enumerate(table[column]):
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"line {number} of {file.name!r} (counted from 0) has no {column} that is a text")
    return list(table[column])


def drawn(n: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of the numbers below `n` in an order drawn with the seed; all of them for 0."""
    order = np.random.default_rng(seed).permutation(n)
    return order[:most] if most else order
