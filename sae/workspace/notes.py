"""What people write about the features of a run: labels, notes, bookmarks and lists, in `runs/ID/notes.json`.

The file is the truth. Two tabs, or two people over one folder, may write at the same time: each change is
made to what stands in the file at that moment, under a lock, so it replaces what it names and nothing else. Whoever
may only look is refused (`sae.workspace.access`).
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.workspace.access import require_change

LABEL_LENGTH = 200
NOTE_LENGTH = 10_000
NAME_LENGTH = 80
LISTS = 200


@dataclass(frozen=True)
class FeatureNote:
    """What stands about one feature. `updated` is ISO UTC, empty where nothing was ever written."""

    label: str = ""
    note: str = ""
    bookmark: bool = False
    updated: str = ""

    @property
    def empty(self) -> bool:
        return not (self.label or self.note or self.bookmark)


class Notes:
    """The notes of the run in `folder`. Everything is read from the file each time it is asked for.

    Args:
        d_sae: number of features, to refuse others; None where it is not known.
    """

    def __init__(self, folder: Path, d_sae: int | None = None) -> None:
        self.path, self.d_sae = Path(folder) / "notes.json", d_sae

    def all(self) -> dict[int, FeatureNote]:
        """What stands about each feature that has something, by feature.

        Raises:
            UserError: if the file is there and can't be read.
        """
        return {int(key): FeatureNote(**value) for key, value in self._read()["features"].items()}

    def feature(self, feature: int) -> FeatureNote:
        """What stands about one feature; an empty note where nothing does."""
        return self.all().get(feature, FeatureNote())

    def lists(self) -> dict[str, list[int]]:
        """Features by the name of the list, each in the order in which they were added."""
        return self._read()["lists"]

    def write(
        self, feature: int, *, label: str | None = None, note: str | None = None, bookmark: bool | None = None
    ) -> FeatureNote:
        """Change what is given of one feature, leave the rest; returns what then stands there.

        Labels are one line of plain text; control characters go. Nothing is written if nothing changes.

        Raises:
            UserError: for a feature that does not exist, a label over 200 or a note over 10,000 characters.
        """
        self._check(feature)
        given: dict[str, Any] = {}
        if label is not None:
            given["label"] = clean_text(label, "a label", LABEL_LENGTH, one_line=True)
        if note is not None:
            given["note"] = clean_text(note, "a note", NOTE_LENGTH)
        if bookmark is not None:
            given["bookmark"] = bool(bookmark)
        with self._changing() as content:
            before = FeatureNote(**content["features"].get(str(feature), {}))
            after = FeatureNote(**{**asdict(before), **given})
            if after == before:
                return before
            if after.empty:
                content["features"].pop(str(feature), None)
                return FeatureNote()
            now = datetime.now(UTC).isoformat(timespec="seconds")
            after = FeatureNote(**{**asdict(after), "updated": now})
            content["features"][str(feature)] = asdict(after)
        return after

    def add(self, name: str, features: Iterable[int]) -> None:
        """Put features on a list, made with its first one; those already on it stay where they are.

        Raises:
            UserError: for a feature that does not exist, a name that is empty or over 80 characters, or
                list number 201.
        """
        name = clean_text(name, "the name of a list", NAME_LENGTH, one_line=True)
        if not name:
            raise UserError("a list needs a name")
        features = [int(feature) for feature in features]
        for feature in features:
            self._check(feature)
        with self._changing() as content:
            if name not in content["lists"] and len(content["lists"]) >= LISTS:
                raise UserError(f"a run can have {LISTS} lists; delete one before making {name!r}")
            content["lists"][name] = list(dict.fromkeys([*content["lists"].get(name, []), *features]))

    def remove(self, name: str, features: Iterable[int] | None = None) -> None:
        """Take features off a list, or with None delete it; a list that has become empty goes."""
        with self._changing() as content:
            gone = set(content["lists"].get(name, []) if features is None else features)
            left = [feature for feature in content["lists"].get(name, []) if feature not in gone]
            if left:
                content["lists"][name] = left
            else:
                content["lists"].pop(name, None)

    def _check(self, feature: int) -> None:
        if feature < 0 or (self.d_sae is not None and feature >= self.d_sae):
            last = "" if self.d_sae is None else f": this SAE has features 0 to {self.d_sae - 1:,}"
            raise UserError(f"there is no feature {feature}{last}")

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"format": 1, "features": {}, "lists": {}}
        content = read_json(self.path)
        try:
            return _checked(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{self.path} does not hold notes ({type(error).__name__}: {error}); move it away to start afresh"
            ) from None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        require_change("writing notes")
        if not self.path.parent.exists():
            raise UserError(f"{self.path.parent} is gone: there is nowhere to keep notes")
        with locked(self.path.with_name(".notes.lock")):
            content = self._read()
            before = repr(content)
            yield content
            if repr(content) != before:
                write_json(self.path, content)


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """The content with the right types and lengths, whoever wrote the file."""
    if content["format"] != 1:
        raise ValueError(f"format {content['format']!r}")
    features = {}
    for key, entry in content["features"].items():
        features[str(int(key))] = {
            "label": clean_text(str(entry.get("label", "")), "a label", LABEL_LENGTH, one_line=True, cut=True),
            "note": clean_text(str(entry.get("note", "")), "a note", NOTE_LENGTH, cut=True),
            "bookmark": bool(entry.get("bookmark", False)),
            "updated": str(entry.get("updated", ""))[:40],
        }
    lists = {str(name): [int(feature) for feature in members] for name, members in content["lists"].items()}
    return {"format": 1, "features": features, "lists": lists}


def clean_text(text: str, what: str, length: int, one_line: bool = False, cut: bool = False) -> str:
    """Plain text: no control characters but, in notes, line ends and tabs; no white space around it."""
    kept = " ".join(text.split()) if one_line else text.replace("\r\n", "\n").strip()
    kept = "".join(c for c in kept if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    if len(kept) > length and not cut:
        raise UserError(f"{what} can have {length:,} characters; this has {len(kept):,}")
    return kept[:length]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the system's lock on `path` among threads and processes; it ends with whoever dies holding it."""
    with open(path, "a+b") as file:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file lets go of it
