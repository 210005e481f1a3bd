"""Checks on a document's own numbers: arithmetic, and what its code and data say."""

from __future__ import annotations

from typing import Any

from sae.analysis.claims.documents import Claim, Document
from sae.analysis.claims.expressions import value
from sae.analysis.claims.finding import REFUTED, REPRODUCED, VERDICTS, Finding
from sae.analysis.claims.measured import Measured
from sae.common.errors import UserError


def numbers(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Work out `expressions` and compare them with `expected`, each within `within` (one number, or one for each).

    `compare` `each` (the default) holds them one by one; `range` holds the smallest and the largest against the two
    numbers of `expected`. `met` and `unmet` are the verdicts (reproduced, refuted) and `because` and `because_not` the
    reasons; where `first` is given, it is the verdict, with `because_first`, if the first number agrees and another
    does not. `show` is the format of one number, or a list of one for each.
    """
    given = claim.arguments
    found = [value(expression, document.names) for expression in given["expressions"]]
    expected = [value(number, document.names) for number in given["expected"]]
    whole_range = given.get("compare", "each") == "range"
    compared = [min(found), max(found)] if whole_range else found
    if len(compared) != len(expected):
        raise UserError(f"claim {claim.id!r} compares {len(compared)} numbers with {len(expected)}")
    formats, within = (_one_each(given[name], len(compared)) for name in ("show", "within"))
    text = (" to " if whole_range else ", ").join(how.format(one) for how, one in zip(formats, compared, strict=True))
    good = [abs(a - b) <= slack for a, b, slack in zip(compared, expected, within, strict=True)]
    if all(good):
        verdict, reason = given.get("met", REPRODUCED), "because"
    elif good[0] and "first" in given:
        verdict, reason = given["first"], "because_first"
    else:
        verdict, reason = given.get("unmet", REFUTED), "because_not"
    return Finding(
        _verdict(verdict, claim), text, given.get(reason, ""), found[0] if len(found) == 1 else None, n=len(found)
    )


def _one_each(item: Any, count: int) -> list[Any]:
    return list(item) if isinstance(item, list) else [item] * count


def record(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """What was read in the document's code or data: the verdict, `value` and `because` stand in the claim."""
    return Finding(_verdict(claim.arguments["verdict"], claim), claim.arguments["value"], claim.arguments["because"])


def _verdict(name: str, claim: Claim) -> str:
    if name not in VERDICTS:
        raise UserError(f"claim {claim.id!r} gives the verdict {name!r}: take one of {', '.join(VERDICTS)}")
    return name
