"""What a check finds out about a claim."""

from __future__ import annotations

from dataclasses import dataclass

REPRODUCED, DIFFERS, REFUTED, UNTESTABLE = "reproduced", "differs", "refuted", "not testable here"
WAITING = "not measured yet"
NO_EXPERIMENT = "no experiment of this kind is chosen"
VERDICTS = {
    REPRODUCED: "our number, or our test of the statement, agrees",
    DIFFERS: "it holds in part, in other units, or of something else than it says",
    REFUTED: "the number or the statement does not hold",
    UNTESTABLE: "what it would take is not here; what was measured instead is shown",
    WAITING: "an experiment here would tell, and none of its runs is finished",
}


@dataclass(frozen=True)
class Finding:
    """`value` is ours in words; `number` the same as a number, in the unit of `Claim.number`, where it is
    one.

    `low` and `high` are its 95 % interval (Student's t over seeds; for one seed the bootstrap over examples
    where there is one), `n` how many seeds or numbers it rests on, `reason` why the verdict is what it is,
    `also` another number worth seeing, `run` the run that shows it, `experiment` the one that it comes from where that
    is not the one that was asked about.
    """

    verdict: str
    value: str = "–"
    reason: str = ""
    number: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    also: str = ""
    run: str | None = None
    experiment: str | None = None


def untestable(reason: str, **more: object) -> Finding:
    """A claim that nothing here can test, and why."""
    return Finding(UNTESTABLE, reason=reason, **more)  # type: ignore[arg-type]


def waiting(reason: str = NO_EXPERIMENT) -> Finding:
    """A claim that no experiment here has measured yet."""
    return Finding(WAITING, reason=reason)
