"""What is held out, decided once and for all by names and numbers, never by chance.

A problem can be held out in three ways that are independent of each other: its numbers (this tuple of
    operands, in this template), its phrasing (this combination of wordings; every wording by itself occurs in
    phrasings that are not held out), and its template.
"""

from __future__ import annotations

import zlib
from typing import Literal, get_args

from .template import Template

Part = Literal["seen", "unseen", "all"]
PARTS: tuple[str, ...] = get_args(Part)

#: About one in eight, with two, three and four steps among them.
HELD_OUT_TEMPLATES = frozenset(
    {
        "saving-weeks",
        "reading-pages",
        "market-crates",
        "ticket-discount",
        "gift-money",
        "triathlon-training",
        "candle-boxes",
        "block-towers",
    }
)


def group(template: Template, operands: tuple[int, ...]) -> str:
    """What two tellings of the same problem have in common, e.g. `bakery-trays:3,12,20`."""
    return f"{template.name}:{','.join(map(str, operands))}"


def numbers_held_out(group: str) -> bool:
    """Whether these numbers are held out in this template: one in ten, by a hash that never changes."""
    return zlib.crc32(group.encode()) % 10 == 0


def phrasing_held_out(phrasing: str) -> bool:
    """Whether a phrasing is held out: one in five, by the wordings' places in `NAME/0.2.1`, modulo 5.

    A weighted sum of the places spreads them over all wordings, where a hash would leave small templates with
    none. The name shifts it, so that it is not always the first wordings.
    """
    name, _, places = phrasing.partition("/")
    weighted = sum(slot * int(place) for slot, place in enumerate(places.split("."), start=1))
    return (weighted + zlib.crc32(name.encode())) % 5 == 0


def template_held_out(name: str) -> bool:
    """Whether a template is held out."""
    return name in HELD_OUT_TEMPLATES
