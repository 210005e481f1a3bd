"""Texts that are no problems: a text file, a table of texts, or a text set on the hub, a document after the other."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

from . import hub_texts
from .examples import Skipped, label_column
from .gsm8k import numbered_lines

if TYPE_CHECKING:
    import pandas as pd

#: What `Texts.table` and the cutting into pieces put there; a label of the same name stands there as `NAME_label`.
_OWN_COLUMNS = ("question", "document", "char_start", "line")
_LONGEST_LINE = 100_000_000  # bytes: of a whole book


@dataclass(frozen=True, slots=True)
class Document:
    """A text, with its line or row in its source (from 0; None for a whole file), and what else is known of it."""

    text: str
    line: int | None = None
    labels: dict[str, Any] = field(default_factory=dict)


class Texts(ABC):
    """Documents that are read as they are asked for; reading them once more starts at the first again.

    Attributes:
        source: where they come from; `kind` and what it takes to get them again.
        skipped: lines that could not be read, of what was read last.
        blank: how many rows of a text set on the hub had no text, of what was read last.
    """

    def __init__(self, source: dict[str, Any], limit: int | None) -> None:
        self.source, self._limit = source, limit
        self.skipped: list[Skipped] = []
        self.blank = 0

    def __iter__(self) -> Iterator[Document]:
        """Raises UserError if the source can't be read any further."""
        self.skipped.clear()
        self.blank = 0
        for number, document in enumerate(self._documents()):
            yield document
            if number + 1 == self._limit:
                return

    @abstractmethod
    def _documents(self) -> Iterator[Document]: ...

    def provenance(self) -> dict[str, Any]:
        """`source`, and what was left out of what was read, for a manifest."""
        found = dict(self.source)
        if self.skipped:
            found["unread"] = [str(line) for line in self.skipped]
        if self.blank:
            found["blank"] = self.blank
        return found


class _File(Texts):
    """A text file: one document."""

    def _documents(self) -> Iterator[Document]:
        path = self.source["path"]
        try:
            # As it stands, line ends among it: characters are counted.
            text = Path(path).read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"the text file {path!r} is not UTF-8: save it as that") from None
        except OSError as error:
            raise UserError(f"cannot read the text file {path!r}: {error.strerror or error}") from None
        if reason := _wrong(text):
            raise UserError(f"the text file {path!r} can't be taken: {reason}")
        yield Document(text)


class _Table(Texts):
    """A file of JSON lines with `text`."""

    def _documents(self) -> Iterator[Document]:
        path = self.source["path"]
        try:
            with open(path, "rb") as file:
                for line, record in numbered_lines(file, _LONGEST_LINE):
                    if isinstance(record, Skipped):
                        self.skipped.append(record)
                    elif reason := _wrong(record.get("text") if isinstance(record, Mapping) else None):
                        self.skipped.append(Skipped(line, reason))
                    else:
                        yield _document(record, line)
        except OSError as error:
            raise UserError(f"cannot read the file of texts {path!r}: {error.strerror or error}") from None


class _Hub(Texts):
    """A text set on the hub."""

    def __init__(self, found: hub_texts.HubTexts, limit: int | None) -> None:
        names = ("repository", "config", "split", "revision")
        super().__init__({"kind": "hub", **{name: getattr(found, name) for name in names}}, limit)
        self._found = found

    def _documents(self) -> Iterator[Document]:
        self._found.used.clear()
        for line, record in enumerate(self._found.rows()):
            if _wrong(record["text"]):
                self.blank += 1  # one by one they would fill a manifest: many sets have empty rows
            else:
                yield _document(record, line)

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "name": self.source["repository"], "files": list(self._found.used)}


def names_texts(spec: str | os.PathLike[str]) -> bool:
    """Whether `spec` means texts and no problems: a text set on the hub, a .txt file, or a .jsonl file whose first
    object has `text` and neither `question` nor `answer`."""
    text = os.fspath(spec)
    if text.startswith(hub_texts.PREFIX) or text.lower().endswith(".txt"):
        return True
    if not text.lower().endswith(".jsonl"):
        return False
    try:
        with open(text, "rb") as file:
            first = next(
                (record for _, record in numbered_lines(file, _LONGEST_LINE) if isinstance(record, Mapping)), {}
            )
    except (OSError, ValueError):  # whoever reads it says why
        return False
    return "text" in first and not {"question", "answer"} & first.keys()


def open_texts(spec: str | os.PathLike[str], *, limit: int | None = None, endless: bool = True) -> Texts:
    """The texts of a spec that `names_texts`; of those on the hub nothing is downloaded yet.

    Args:
        limit: at most so many.
        endless: whether all of them will be read, if there is no limit.

    Raises:
        UserError: if there are none, or all are wanted of a text set on the hub in several files.
    """
    text = os.fspath(spec)
    if limit is not None and limit < 1:
        raise UserError(f"the number of texts must be at least 1, not {limit!r}")
    found: Texts
    if text.startswith(hub_texts.PREFIX):
        set_ = hub_texts.find(text)
        if endless and limit is None and len(set_.files) > 1:
            raise UserError(
                f"{text!r} has {len(set_.files):,} files: say how much to take, with a limit or a number of tokens"
            )
        return _Hub(set_, limit)
    found = (
        _File({"kind": "text", "path": text}, limit)
        if text.lower().endswith(".txt")
        else _Table({"kind": "texts", "path": text}, limit)
    )
    if next(iter(found), None) is None:
        reason = f"the first: {found.skipped[0]}" if found.skipped else "it is empty"
        raise UserError(f"no text could be read from {text!r} ({reason})")
    return found


def documents_table(documents: Sequence[Document]) -> pd.DataFrame:
    """A line a document, in order: `question` (the text), `document` (its number from 0), `line` where it has one,
    then a column a label, as `ProblemSet.table` has them."""
    import pandas as pd

    columns: dict[str, Any] = {
        "question": [one.text for one in documents],
        "document": pd.array(range(len(documents)), dtype="int64"),
    }
    if any(one.line is not None for one in documents):
        columns["line"] = pd.array([one.line for one in documents], dtype="Int64")
    for label in dict.fromkeys(name for one in documents for name in one.labels):
        name = label
        while name in columns or name in _OWN_COLUMNS:
            name += "_label"
        columns[name] = label_column([one.labels.get(label) for one in documents])
    return pd.DataFrame(columns)


def _document(record: Mapping[str, Any], line: int) -> Document:
    return Document(record["text"], line, {str(key): value for key, value in record.items() if key != "text"})


def _wrong(text: Any) -> str:
    """Why `text` is no document; empty if it is one."""
    if not isinstance(text, str):
        return "has no 'text' that is a text"
    if not text.strip():
        return "its text is empty"
    return "its text holds a NUL character" if "\0" in text else ""
