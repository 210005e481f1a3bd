"""A colleague's labels, notes, bookmarks and lists beside ours: what differs, and both of them in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sae.workspace.notes import NOTE_LENGTH, FeatureNote, Notes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Difference:
    """One thing that the two sides say about a run.

    Attributes:
        what: `label`, `note`, `bookmark`, `list NAME`, or for more than notes `activations NAME`, `run`, ...
        feature: None for a list, or what is not about a feature.
        ours, theirs: as text; empty where a side says nothing.
        outcome: what stands there after they are joined, in words.
    """

    run: str
    what: str
    feature: int | None
    ours: str
    theirs: str
    outcome: str


def compare(run: str, ours: Notes, theirs: Notes, sender: str) -> list[Difference]:
    """Everything that theirs says otherwise than ours, or says at all where ours is silent.

    Raises:
        UserError: if one of the files can't be read.
    """
    found = []
    mine = ours.all()
    for feature, note in sorted(theirs.all().items()):
        found += _of_feature(run, feature, mine.get(feature, FeatureNote()), note, sender)
    lists = ours.lists()
    for name, members in theirs.lists().items():
        new = [feature for feature in members if feature not in lists.get(name, [])]
        if new:
            outcome = f"{len(new):,} added" if name in lists else "taken over"
            found.append(Difference(run, f"list {name}", None, _words(lists.get(name, [])), _words(members), outcome))
    return found


def join(folder: Path, theirs: Notes, sender: str, d_sae: int) -> None:
    """Put theirs into ours: what is missing is taken over, what both say stands together, lists are united.

    Ours stays where it was; theirs stands below it in the note, with who sent it. The same again changes nothing.

    Raises:
        UserError: if one of the files can't be read, or for a viewer.
    """
    ours = Notes(folder, d_sae)
    mine = ours.all()
    for feature, note in theirs.all().items():
        joined = _joined(mine.get(feature, FeatureNote()), note, sender)
        ours.write(feature, label=joined.label, note=joined.note, bookmark=joined.bookmark)
    for name, members in theirs.lists().items():
        ours.add(name, members)


def _of_feature(run: str, feature: int, mine: FeatureNote, note: FeatureNote, sender: str) -> list[Difference]:
    new = _missing(mine, note)
    fits = _joined(mine, note, sender).note != mine.note
    both = "both stay: ours first, theirs in the note"
    if not fits:
        both = f"ours stays; together they pass {NOTE_LENGTH:,} characters, so theirs is in the bundle only"
    found = []
    if note.label and not mine.label:
        found.append(Difference(run, "label", feature, "", note.label, "taken over"))
    elif f"Label: {note.label}" in new:
        found.append(Difference(run, "label", feature, mine.label, note.label, both))
    if note.note and not mine.note:
        found.append(Difference(run, "note", feature, "", note.note, "taken over"))
    elif note.note in new:
        found.append(Difference(run, "note", feature, mine.note, note.note, both))
    if note.bookmark and not mine.bookmark:
        found.append(Difference(run, "bookmark", feature, "no", "yes", "marked"))
    return found


def _missing(mine: FeatureNote, note: FeatureNote) -> list[str]:
    """What our note must take in so that nothing of theirs goes: what does not stand there, in whole lines, already."""
    parts = []
    if note.label and mine.label and note.label != mine.label:
        parts.append(f"Label: {note.label}")
    if note.note and mine.note:
        parts.append(note.note)
    return [part for part in parts if f"\n{part}\n" not in f"\n{mine.note}\n"]


def _joined(mine: FeatureNote, note: FeatureNote, sender: str) -> FeatureNote:
    """Ours with what theirs adds; our note alone where both together are too long for one."""
    text = mine.note or note.note
    if new := _missing(mine, note):
        text = "\n\n".join(part for part in (text, f"From {sender}:\n" + "\n".join(new)) if part)
    kept = text if len(text) <= NOTE_LENGTH else mine.note
    return FeatureNote(mine.label or note.label, kept, mine.bookmark or note.bookmark)


def _words(members: list[int]) -> str:
    shown = ", ".join(map(str, members[:20]))
    return shown + (f" and {len(members) - 20:,} more" if len(members) > 20 else "")
