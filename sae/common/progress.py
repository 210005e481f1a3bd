"""How long work says where it is, and learns that it should stop."""

from __future__ import annotations

import sys
import time
from typing import Protocol


class Progress(Protocol):
    """What long work calls. `update` may raise `Cancelled`."""

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        """Say that `done` of `total` units of `stage` are finished; `figures` are live numbers such as a rate."""


class Silent:
    """Says nothing."""

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        pass


class Console:
    """One line on standard error with what is left: rewritten twice a second on a terminal, else a line every 5 s."""

    def __init__(self) -> None:
        self._stage = ""
        self._started = self._last = 0.0
        self._first = 0.0
        self._text = ""
        self._every = 0.5 if sys.stderr.isatty() else 5.0

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._last, self._first = stage, now, 0.0, done
        if now - self._last < self._every and done < total:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._started, 1e-9)
        left = f", {seconds_text((total - done) / rate)} left" if rate > 0 and done < total else ""
        extra = "".join(f", {key} {value}" for key, value in figures.items())
        end = "\n" if done >= total else ""
        text = f"{stage}: {done:,.0f} of {total:,.0f}{left}{extra}"
        if text == self._text:
            return
        self._text = text
        sys.stderr.write(f"\r\033[K{text}{end}" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()


def seconds_text(seconds: float) -> str:
    """A duration for people: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = int(seconds + 0.5)
    if seconds < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
