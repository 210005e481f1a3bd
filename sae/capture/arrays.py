"""Arrays made elsewhere become activations: checked value by value before they stand in the workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import check_name, file_sha256
from sae.common.json_lines import json_lines
from sae.common.progress import Progress, Silent

from .folder import Workplace, write_examples, write_rows
from .npy import NpyWriter
from .readers import Source, open_array
from .splits import split_examples
from .store import Activations

if TYPE_CHECKING:
    import pandas as pd

_TEXT_COLUMNS = ("question", "answer", "model_answer", "group", "split", "template", "phrasing")


def import_activations(
    source: Path | str,
    folder: Path,
    *,
    name: str,
    examples: Path | str | None = None,
    key: str | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Take in an array [n_rows, d_in] as activations of one slice.

    Kept are float16 and float32; anything else (float64, bfloat16, integers) becomes float32, and the manifest says so.

    Args:
        source: `.npy`, `.safetensors` (one two-dimensional tensor, or the one named `key`) or `.parquet` (numeric
            columns, or one column of lists).
        folder: where the activations will stand; its last part is `name`.
        examples: JSON Lines, one object a row of the array, in the same order: `question`, `answer`, `split`
            (`train`, `validation`, `test`), `group` (what must stay on one side of the split), `correct`, and
            any columns of your own. Without it rows are split at random.
        progress: may raise `Cancelled`; nothing is left then.

    Raises:
        UserError: for whatever can't be taken in, and if other activations have the name; nothing is written.
            The same file with the same examples under the same name returns what is there.
    """
    progress = progress or Silent()
    check_name(name, "activations name")
    source, examples = Path(source), None if examples is None else Path(examples)
    if folder.name != name:
        raise UserError(f"the folder {folder} must end in the activations' name {name!r}")
    array = open_array(source, key)
    spec = {
        "file": file_sha256(source),
        "key": key,
        "examples": None if examples is None else _examples_sha256(examples),
    }
    if folder.exists():
        there = Activations.open(folder)
        if there.manifest.get("spec") == spec:
            return there
        raise UserError(
            f"activations {name!r} are there already, from something else: take another name or delete them"
        )
    n_rows, d_in = array.shape
    table = _read_examples(examples, n_rows, source) if examples else _no_examples(n_rows)
    split, split_how = split_examples(table)
    dtype = np.dtype(array.stored if array.stored in ("float16", "float32") else "float32")

    with Workplace(folder) as place:
        place.start_over()
        try:
            _copy(array, source.name, place.partial / "activations.npy", dtype, progress)
            write_rows(place.partial / "rows.parquet", {"example": np.arange(n_rows)}, split, [None])
            write_examples(place.partial / "examples.parquet", table, split)
            manifest = {
                "kind": "import",
                "model": None,
                "problems": None if examples is None else {"kind": "file", "name": examples.name},
                "text": None,
                "positions": None,
                "layers": None,
                "dtype": dtype.name,
                "d_in": d_in,
                "n_rows": n_rows,
                "n_examples": n_rows,
                "slices": [{"layer": None, "position": None, "start": 0, "stop": n_rows}],
                "split": split_how,
                "imported": {"file": source.name, "key": key, "stored_as": array.stored},
                "seconds": None,
                "spec": spec,
            }
            return place.finish(manifest)
        except BaseException:
            place.discard()
            raise


def _copy(array: Source, name: str, path: Path, dtype: np.dtype, progress: Progress) -> None:
    """Write the array in its pieces, and refuse it at the end if a value was not finite."""
    n_rows, _ = array.shape
    writer = NpyWriter(path, array.shape, dtype)
    row, bad, first, too_large = 0, 0, -1, 0
    try:
        for piece in array.pieces():
            progress.update(row, n_rows, "importing (rows)")
            if row + len(piece) > n_rows:
                raise UserError(f"{name} has more rows than the {n_rows:,} it claims")
            with np.errstate(over="ignore"):
                values = piece.astype(dtype)
            finite = np.isfinite(values)
            if not finite.all():
                if first < 0:
                    first = row + int(np.flatnonzero(~finite.all(axis=1))[0])
                bad += int(finite.size - finite.sum())
                too_large += int((~finite & np.isfinite(piece)).sum())
            elif not bad:
                writer.write(row, values)
            row += len(piece)
    finally:
        writer.close()
    if bad:
        what = "are NaN or Inf" if not too_large else f"are NaN, Inf or beyond {dtype}"
        raise UserError(f"{name}: {bad:,} of its values {what}, the first in row {first}: mend or drop those rows")
    if row != n_rows:
        raise UserError(f"{name} has {row:,} rows, not the {n_rows:,} it claims")
    progress.update(n_rows, n_rows, "importing (rows)")


def _examples_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UserError(f"the examples {path} can't be read ({error.strerror})") from None


def _no_examples(n_rows: int) -> pd.DataFrame:
    """Rows that nothing is known about: no text, only where each stood."""
    import pandas as pd

    return pd.DataFrame({"line": np.arange(n_rows, dtype=np.int64)})


def _read_examples(path: Path, n_rows: int, source: Path) -> pd.DataFrame:
    """One line of the file for each row, as columns that parquet can hold.

    Raises:
        UserError: if a line is no JSON object, or there are more or fewer lines than rows.
    """
    import pandas as pd

    records: list[dict[str, Any]] = []
    try:
        for where, record in json_lines(path):
            if not isinstance(record, dict):
                raise UserError(f"{where} is not a JSON object")
            records.append(record)
    except OSError as error:
        raise UserError(f"the examples {path} can't be read ({error.strerror})") from None
    if len(records) != n_rows:
        raise UserError(
            f"{path.name} has {len(records):,} examples and {source.name} has {n_rows:,} rows: give a line for each row"
        )
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: _column(name, [record.get(name) for record in records]) for name in names}
    return pd.DataFrame(columns) if columns else _no_examples(n_rows)


def _column(name: str, values: list[Any]) -> Any:
    """A pandas column of one type: numbers, truth values or text. Lists and tables become JSON text."""
    import pandas as pd

    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if name == "correct" and known and len(known) == len(values) and all(value in (0, 1) for value in known):
        return np.array(values, dtype=bool)
    if name not in _TEXT_COLUMNS and kinds:
        if kinds == {bool}:
            return pd.array(values, dtype="boolean") if len(known) < len(values) else np.array(values, dtype=bool)
        if kinds <= {int, float} and all(abs(value) < 2**53 for value in known if isinstance(value, int)):
            if kinds == {int} and len(known) == len(values):
                return np.array(values, dtype=np.int64)
            return np.array([np.nan if value is None else float(value) for value in values])
    text = [None if v is None else v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
    return pd.array(text, dtype="str")
