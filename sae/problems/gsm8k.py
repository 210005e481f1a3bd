"""GSM8K-format problems from records, a JSONL file or the Hugging Face hub, and back to a JSONL file.

A line that cannot be read is reported with its number, counted from 0, and skipped; an oddity inside a good
line is noted and the problem kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from sae.common.errors import UserError
from sae.common.files import replacing

from .answers import parse_answer, read_answer
from .examples import Example, Note, ProblemSet, Skipped

__all__ = ["from_records", "load_hub", "parse_answer", "read_jsonl", "write_jsonl"]

#: The longest line that is read; the longest of GSM8K has some 3,000 bytes.
MAX_LINE_BYTES = 1_000_000
HUB_NAME = "openai/gsm8k"
_HUB_FILE = "main/{split}-00000-of-00001.parquet"
_HUB_TIMEOUT_SECONDS = 5


def from_records(
    records: Iterable[Mapping[str, Any]], *, limit: int | None = None, source: dict[str, Any] | None = None
) -> ProblemSet:
    """Problems from mappings with `question` and `answer`; all other keys become labels.

    Args:
        records: the mappings; their index becomes `line`.
        limit: stop after so many problems were read.
        source: what to put down as the set's source.

    Raises:
        UserError: `limit` is not positive. A bad record is not an error but a `Skipped`.
    """
    return _collect(enumerate(records), limit, source or {"kind": "records"})


def read_jsonl(path: str | os.PathLike[str], limit: int | None = None) -> ProblemSet:
    """Problems from a file with one JSON object with `question` and `answer` a line; other keys become
    labels.

    Blank lines are passed over but counted. `limit` stops after so many problems were read.

    Raises:
        UserError: the file cannot be opened, or `limit` is not positive. A bad line is not an error but a
            `Skipped`.
    """
    source = {"kind": "jsonl", "path": str(path)}
    try:
        with open(path, "rb") as file:
            return _collect(numbered_lines(file), limit, source)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"cannot read the problems file {str(path)!r}: {reason}") from error


def load_hub(split: str = "train", limit: int | None = None, *, revision: str | None = None) -> ProblemSet:
    """GSM8K from the Hugging Face hub, or from the hub's cache on this machine if it was loaded before.

    Args:
        split: `train` (7,473 problems) or `test` (1,319).
        limit: stop after so many problems were read.
        revision: a commit of `openai/gsm8k`; the newest one if None.

    Raises:
        UserError: another split, no network and nothing cached, or a `limit` that is not positive.
    """
    if split not in ("train", "test"):
        raise UserError(f"GSM8K has the splits 'train' and 'test', not {split!r}")
    _check_limit(limit)
    path = _hub_file(_HUB_FILE.format(split=split), revision)
    import pandas as pd

    try:
        rows = pd.read_parquet(path, columns=["question", "answer"]).to_dict("records")
    except Exception as error:
        raise UserError(f"the GSM8K file {str(path)!r} cannot be read ({error}): delete it and try again") from error
    # The cache keeps a file under snapshots/COMMIT/.
    source = {"kind": "hub", "name": HUB_NAME, "split": split, "revision": path.parent.parent.name}
    return from_records(({str(k): v for k, v in row.items()} for row in rows), limit=limit, source=source)


def write_jsonl(problems: ProblemSet, path: str | os.PathLike[str]) -> None:
    """Write one JSON object a problem: `question`, `answer`, and its labels as further keys. `read_jsonl`
    reads it.

    The file is written beside its place and moved into it.

    Raises:
        UserError: it cannot be written, or a label is named `question` or `answer`.
    """
    for example in problems.examples:
        if clash := {"question", "answer"} & example.labels.keys():
            raise UserError(f"a label cannot be called {clash.pop()!r}: rename it before writing")
    try:
        with replacing(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
            for example in problems.examples:
                record = {"question": example.question, "answer": example.answer, **example.labels}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"cannot write the problems file {str(path)!r}: {error}") from error


def _hub_file(name: str, revision: str | None) -> Path:
    """Where a file of GSM8K lies in the hub's cache, downloaded if it is not there yet."""
    from huggingface_hub import HfApi, hf_hub_download

    options: dict[str, Any] = {
        "repo_id": HUB_NAME,
        "filename": name,
        "repo_type": "dataset",
        "revision": revision,
    }
    try:
        # The cache first: the data set never changes, and a machine without network should not wait.
        return Path(hf_hub_download(**options, local_files_only=True))
    except Exception:
        # Not there, or a damaged cache: the hub can mend both.
        pass
    try:
        # Asked once first: a download tries again and again, and takes half a minute to find no network.
        HfApi().dataset_info(HUB_NAME, revision=revision, timeout=_HUB_TIMEOUT_SECONDS)
        return Path(hf_hub_download(**options, etag_timeout=_HUB_TIMEOUT_SECONDS))
    except Exception as error:
        raise UserError(
            f"GSM8K cannot be loaded from the Hugging Face hub ({type(error).__name__}): connect to the "
            "network, or give the path of a .jsonl file (train.jsonl from https://github.com/openai/grade-school-math)"
        ) from error


def _check_limit(limit: int | None) -> None:
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UserError(f"the number of problems must be at least 1, not {limit!r}")


def _collect(
    records: Iterable[tuple[int, Mapping[str, Any] | Skipped]], limit: int | None, source: dict[str, Any]
) -> ProblemSet:
    """Gather the examples, skipped lines and notes of numbered records."""
    _check_limit(limit)
    examples: list[Example] = []
    skipped: list[Skipped] = []
    notes: list[Note] = []
    for line, record in records:
        if isinstance(record, Skipped):
            skipped.append(record)
            continue
        try:
            example, oddities = _example(line, record)
        except UserError as error:
            skipped.append(Skipped(line, str(error)))
            continue
        examples.append(example)
        notes += [Note(line, kind, text) for kind, text in oddities]
        if len(examples) == limit:
            break
    return ProblemSet(tuple(examples), tuple(skipped), source, tuple(notes))


def _example(line: int, record: Mapping[str, Any]) -> tuple[Example, tuple[tuple[str, str], ...]]:
    if not isinstance(record, Mapping):
        raise UserError(f"not an object with 'question' and 'answer' but {type(record).__name__}")
    for key in ("question", "answer"):
        _check_text(key, record.get(key, _MISSING))
    parsed = read_answer(record["answer"])
    labels = {str(k): v for k, v in record.items() if k not in ("question", "answer")}
    return Example(record["question"], record["answer"], parsed.final, parsed.steps, line, labels), parsed.oddities


_MISSING = object()


def _check_text(key: str, value: Any) -> None:
    if value is _MISSING:
        raise UserError(f"has no {key!r}")
    if not isinstance(value, str):
        raise UserError(f"its {key!r} is not text but {type(value).__name__}")
    if not value.strip():
        raise UserError(f"its {key!r} is empty")
    if "\0" in value:
        raise UserError(f"its {key!r} holds a NUL character")


def numbered_lines(file: IO[bytes], longest: int = MAX_LINE_BYTES) -> Iterator[tuple[int, Mapping[str, Any] | Skipped]]:
    """Number the lines of a file and read each as JSON, or say why it is skipped.

    Args:
        longest: bytes of a line; a longer one is skipped.
    """
    number = -1
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            # Read on to its end in pieces, so that no line is ever held in memory whole.
            while line and not line.endswith(b"\n"):
                line = file.readline(longest)
            yield number, Skipped(number, f"longer than {longest:,} bytes")
            continue
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            # NaN is no JSON, but pandas writes it for a missing label.
            record = json.loads(line.decode("utf-8"), parse_constant=lambda _: None)
            # Half a surrogate pair ("\ud800") passes as JSON but can be stored nowhere.
            json.dumps(record, ensure_ascii=False).encode("utf-8")
        except UnicodeError:
            yield number, Skipped(number, "not UTF-8 text")
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply or too large a number"
            yield number, Skipped(number, f"not JSON: {reason}")
        else:
            yield number, record
