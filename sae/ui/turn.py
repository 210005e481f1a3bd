"""Visitors take turns: a few pages are drawn at once, the others wait a moment for one of them to end.

Python runs one thread at a time. Fifty scripts at once hand that right to each other every few milliseconds, and at
every file that is read; all of them end late, and the hand-overs take as long as the pages. Two are enough to use the
time in which one waits for a file. Nobody waits for long behind somebody's long computation: after `LONGEST` a page is
drawn in any case.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 2
LONGEST = 10.0  # s

_places = threading.Semaphore(AT_ONCE)


@contextmanager
def turn() -> Iterator[None]:
    """Around what draws a page."""
    mine = _places.acquire(timeout=LONGEST)
    try:
        yield
    finally:
        if mine:
            _places.release()
