"""The order of a test run: what it names is there, and nothing but the order changes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.order import LONG, long_ones_first


def test_long_files_come_first_and_the_rest_stays_as_it_was(repository: Path) -> None:
    assert len(set(LONG)) == len(LONG) and all((repository / "tests" / name).is_file() for name in LONG)
    named = ["analysis/a.py", LONG[1], LONG[0], "analysis/a.py", LONG[1], "workspace/z.py"]
    items: list[Any] = [SimpleNamespace(path=repository / "tests" / name, place=n) for n, name in enumerate(named)]
    long_ones_first(items, repository)
    assert [item.place for item in items] == [2, 1, 4, 0, 3, 5]
