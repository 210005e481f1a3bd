"""Lists of layers as people type them."""

from __future__ import annotations

import re

from sae.common.errors import UserError

_PART = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


def parse_layers(text: str) -> list[int]:
    """`"0,9,14"` or `"0-3,9"` as a sorted list of block numbers, each once.

    Raises:
        UserError: if it is anything else.
    """
    layers: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise UserError(f"layers {text!r} can't be read: give block numbers from 0, such as 9 or 0,9,14 or 0-3")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"layers {part.strip()!r} run backwards: write {last}-{first}")
        layers.update(range(first, last + 1))
    return sorted(layers)
