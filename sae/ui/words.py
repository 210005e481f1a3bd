"""How numbers and other people's text are written on pages."""

from __future__ import annotations

import re
from datetime import datetime

from sae.common.progress import seconds_text
from sae.report.visible import visible

__all__ = ["ago", "bytes_text", "count", "number", "plain", "plural", "seconds_text", "share"]

# Where Markdown finds addresses in text, whatever is escaped: it looks again once it has read the escapes.
_ADDRESSES = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
_MARKS = re.compile(r"([\\`*_{}\[\]()#+.!|~<>$:^=-])")


def plain(text: object) -> str:
    """`text` so that Streamlit's Markdown shows it as it stands: one line, no links, images, colours or formulas.

    Characters that turn or hide what stands beside them are written out (`visible`). An address gets a character
    without width into its middle, so that it is no link.
    """
    shown = visible(" ".join(str(text).split()))
    return _MARKS.sub(r"\\\1", _ADDRESSES.sub("\u200c", shown))


def count(value: float) -> str:
    """A whole number with separators: `7,473`."""
    return f"{round(value):,}"


def plural(n: int, word: str) -> str:
    """`word` for `n` things: `run`, `runs`; `set of activations`, `sets of activations`."""
    first, space, rest = word.partition(" ")
    return word if n == 1 else f"{first}s{space}{rest}"


def number(value: float | None, decimals: int = 3) -> str:
    """A measured number with a fixed number of decimals; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:,.{decimals}f}"


def share(value: float | None) -> str:
    """A share of one in per cent with one decimal: `4.9 %`."""
    return "–" if value is None or value != value else f"{100 * value:.1f} %"


def bytes_text(size: float) -> str:
    """A size for people: `812 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError


def ago(iso: str, now: datetime | None = None) -> str:
    """An ISO time as people say it: `just now`, `12 min ago`, `3 h ago`, then the date."""
    try:
        then = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    seconds = ((now or datetime.now(then.tzinfo)) - then).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 86_400:
        return f"{seconds / 3600:.0f} h ago"
    return then.strftime("%Y-%m-%d")
