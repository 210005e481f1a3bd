"""Mutated files over every importer, the short form of `make torture`; and what its long form found."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from torture import files, mutations
from torture.guard import Guard
from torture.hostile import CANARY, pickles

TRIALS = 250


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_mutated_files_are_taken_or_refused_in_one_line_and_do_nothing_else(tmp_path: Path) -> None:
    workspace, entries, guard = files.set_up(tmp_path)
    found = [files.trial(number, 0, workspace, entries, guard) for number in range(TRIALS)]
    assert [one for one in found if one["outcome"].startswith("failed")] == []
    assert {one["outcome"] for one in found} == {"taken", "refused"}
    assert len({one["entry"] for one in found}) > len(entries) / 2


def test_the_guard_sees_what_is_run_and_written_elsewhere(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "inside").mkdir()
    guard = Guard(tmp_path)
    os.environ[CANARY] = str(guard.canary)
    pickles.cache_clear()
    with guard:
        (tmp_path / "inside" / "mine").write_text("may be here")
    assert guard.seen == []
    with guard:
        (tmp_path / "elsewhere").write_text("may not")
    assert any("elsewhere" in line for line in guard.seen) and not (tmp_path / "elsewhere").exists()
    with guard:
        pickle.loads(pickles()[0])  # what a trial gives to importers does run where it is unpickled
    assert any(line.startswith("os.system") for line in guard.seen) and "canary was written" in guard.seen


def test_a_seed_says_which_mutations_come() -> None:
    content = b'{"architecture": "topk", "d_in": 6, "k": 3}'
    first, again, other = (mutations.mutated("cfg.json", content, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again and first != other and first[0] != content
