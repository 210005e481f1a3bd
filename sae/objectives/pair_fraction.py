"""The share of all pairs of features that is penalised: constant, or rising over a number of steps."""

from __future__ import annotations

import math
from typing import NamedTuple

SCHEDULES = ("constant", "linear", "exponential", "exponential_to_end")


class Taken(NamedTuple):
    """How many pairs are penalised, and what the mean of their terms is taken over.

    `entries` is None where that is the pairs. In the literal mode it counts entries of the symmetric matrix, in which
    each pair stands twice; where it is odd, the last pair counts once.
    """

    pairs: int
    entries: int | None = None


def fraction_at(step: int, start: float, end: float, schedule: str, steps: int) -> float:
    """With x = min(1, step / steps):

    - `linear`: start + (end - start) x
    - `exponential`: start + (end - start) (1 - e^(-5x)), as it was written: it stops 0.7 % short of the end
    - `exponential_to_end`: the same over (1 - e^-5)
    """
    x = min(1.0, step / steps)
    if schedule == "linear":
        return start + (end - start) * x
    if schedule == "exponential":
        return start + (end - start) * (1 - math.exp(-5 * x))
    if schedule == "exponential_to_end":
        return start + (end - start) * (1 - math.exp(-5 * x)) / (1 - math.exp(-5))
    return start


def pairs_of_fraction(fraction: float, d_sae: int, minimum: int) -> Taken:
    """A share of the d_sae (d_sae - 1) / 2 pairs, rounded up, at least `minimum`."""
    pairs = d_sae * (d_sae - 1) // 2
    # A share that is written in decimals must not count a pair more for the last bit of a product.
    return Taken(min(pairs, max(minimum, math.ceil(round(fraction * pairs, 6)))))


def literal_pairs_of_fraction(fraction: float, d_sae: int, of_all_entries: bool) -> Taken:
    """As it was coded: int(fraction · d (d-1) / 2) entries of the symmetric matrix, so about half as many pairs; or
    int(fraction · d²) of them.
    """
    entries = int(fraction * (d_sae * d_sae if of_all_entries else d_sae * (d_sae - 1) // 2))
    return Taken((entries + 1) // 2, entries)
