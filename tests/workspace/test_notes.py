"""Labels, notes, bookmarks and lists: kept, merged, bounded."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sae.common.errors import UserError
from sae.workspace.notes import FeatureNote, Notes


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path, d_sae=512)


def test_nothing_written_nothing_there(notes: Notes) -> None:
    assert notes.all() == {} and notes.lists() == {}
    assert notes.feature(7) == FeatureNote()
    notes.write(7, label="", bookmark=False)
    assert not notes.path.exists()


def test_what_is_written_stands_in_the_file(notes: Notes) -> None:
    notes.write(317, label=" counts\nof  eggs ", note="first line\r\nsecond\x07 line\n", bookmark=True)
    notes.add("to check", [317, 5, 317])
    content = json.loads(notes.path.read_text())
    entry = content["features"].pop("317")
    assert entry.pop("updated").startswith("20")
    assert entry == {"label": "counts of eggs", "note": "first line\nsecond line", "bookmark": True}
    assert content == {"format": 1, "features": {}, "lists": {"to check": [317, 5]}}


def test_a_change_replaces_only_what_it_names(notes: Notes) -> None:
    notes.write(3, label="a")
    notes.write(3, note="why")
    notes.write(4, bookmark=True)
    assert (notes.feature(3).label, notes.feature(3).note, notes.feature(3).bookmark) == ("a", "why", False)
    notes.write(3, label="", note="")
    assert set(notes.all()) == {4}


def test_lists_grow_shrink_and_go(notes: Notes) -> None:
    notes.add("one", [1, 2])
    notes.add("one", [3, 2])
    notes.remove("one", [2])
    assert notes.lists() == {"one": [1, 3]}
    notes.remove("one", [1, 3])
    notes.remove("never was")
    assert notes.lists() == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"feature": 512, "label": "x"}, "features 0 to 511"),
        ({"feature": -1, "label": "x"}, "no feature -1"),
        ({"feature": 1, "label": "x" * 201}, "200 characters"),
        ({"feature": 1, "note": "x" * 10_001}, "10,000 characters"),
    ],
)
def test_what_can_not_stand_is_refused(notes: Notes, change: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        notes.write(**change)
    assert not notes.path.exists()


def test_a_list_needs_a_name_and_there_is_an_end_to_lists(notes: Notes) -> None:
    with pytest.raises(UserError, match="needs a name"):
        notes.add(" \n", [1])
    for number in range(200):
        notes.add(f"list {number}", [number])
    with pytest.raises(UserError, match="200 lists"):
        notes.add("one more", [1])
    assert len(notes.lists()) == 200


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"format": 2, "features": {}, "lists": {}}',
        '{"format": 1, "features": {"x": {}}, "lists": {}}',
    ],
)
def test_a_file_that_holds_something_else_is_left_alone(notes: Notes, content: str) -> None:
    notes.path.write_text(content)
    with pytest.raises(UserError, match="notes.json"):
        notes.write(1, label="x")
    assert notes.path.read_text() == content


def test_a_strangers_file_is_read_within_bounds(notes: Notes) -> None:
    entry = {"label": "a\x00b\nc" + "x" * 500, "note": "n" * 20_000, "bookmark": 1, "more": "?"}
    notes.path.write_text(json.dumps({"format": 1, "features": {"2": entry}, "lists": {"l": [1]}}))
    found = notes.feature(2)
    assert found.label.startswith("ab c") and len(found.label) == 200
    assert len(found.note) == 10_000 and found.bookmark is True


def test_threads_and_processes_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom sae.workspace.notes import Notes\n"
        "notes = Notes(Path(sys.argv[1]))\n"
        "for i in range(25): notes.write(1000 + i, label=f'p{i}'); notes.add('all', [1000 + i])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])

    def write(start: int) -> None:
        own = Notes(tmp_path)
        for i in range(25):
            own.write(start + i, bookmark=True)
            own.add("all", [start + i])

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait(60) == 0
    expected = {*range(25), *range(100, 125), *range(200, 225), *range(1000, 1025)}
    assert set(Notes(tmp_path).all()) == expected
    assert set(Notes(tmp_path).lists()["all"]) == expected


def test_a_run_that_was_deleted_takes_no_notes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is gone"):
        Notes(tmp_path / "gone").write(1, label="x")
