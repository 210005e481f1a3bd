"""Lists of layers and of steps as people type them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sae.common.errors import UserError

#: Stands for every layer of a model, or every step, before it is known how many there are.
ALL = "all"
_PART = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


def parse_layers(text: str) -> list[int]:
    """`"0,9,14"` or `"0-3,9"` as a sorted list of block numbers, each once.

    Raises:
        UserError: if it is anything else.
    """
    return _parse(text, "layers", "block numbers from 0, such as 9 or 0,9,14 or 0-3, or all")


def parse_steps(text: str) -> list[int]:
    """`"0-6"` or `"1,3,5"` as a sorted list of steps, each once: 0 is BOT, 1 to 6 are the thoughts.

    Raises:
        UserError: if it is anything else.
    """
    return _parse(text, "steps", "0 for BOT and 1 to 6 for the thoughts, such as 3 or 0-6, or all")


def read_layers(value: str | Sequence[int]) -> list[int] | str:
    """A list as it is or as text; `all` stays.

    Raises:
        UserError: as `parse_layers`.
    """
    if isinstance(value, str):
        return ALL if value.strip().lower() == ALL else parse_layers(value)
    return list(value)


def read_steps(value: str | Sequence[int] | None) -> list[int] | None:
    """A list as it is or as text; None for all of them (`all`, nothing).

    Raises:
        UserError: as `parse_steps`.
    """
    if isinstance(value, str):
        return None if value.strip().lower() in (ALL, "") else parse_steps(value)
    return None if value is None else list(value)


def chosen_layers(value: str | Sequence[int], n_layers: int) -> list[int]:
    """As `read_layers`, with `all` written out for a model of `n_layers` blocks."""
    layers = read_layers(value)
    return list(range(n_layers)) if isinstance(layers, str) else layers


def _parse(text: str, what: str, choice: str) -> list[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise UserError(f"{what} {text!r} can't be read: give {choice}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"{what} {part.strip()!r} run backwards: write {last}-{first}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)
