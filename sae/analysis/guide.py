"""Which configuration for which use: the choices of a configuration guide as declared rules over metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sae.common.errors import UserError

_RUN_KEYS = ("k", "d_sae")


@dataclass(frozen=True)
class Condition:
    """A line stays where `column` is at least or at most a bound, or within a share of the best."""

    column: str
    at_least: float | None = None
    at_most: float | None = None
    share_of_best: float | None = None

    def holds(self, table: pd.DataFrame) -> pd.Series:
        """bool, one for each line of `table`; a missing value never holds."""
        values = table[self.column].astype(float)
        good = values.notna()
        if self.at_least is not None:
            good &= values >= self.at_least
        if self.at_most is not None:
            good &= values <= self.at_most
        if self.share_of_best is not None:
            good &= values >= self.share_of_best * values.max()
        return good


@dataclass(frozen=True)
class Rule:
    """A use, the rule in words as a page prints it, and the same rule as conditions and an order.

    `order` lists (column, "low" or "high"): the first decides, the next breaks ties.
    `report` is what the topk-grid report picked for this use (k, d_sae), and its rationale in its own words.
    """

    use: str
    text: str
    order: tuple[tuple[str, str], ...]
    conditions: tuple[Condition, ...] = field(default=())
    report: tuple[int, int] | None = None
    report_words: str = ""


RULES = (
    Rule(
        use="Extreme interpretability",
        text="The smallest K; among those the smallest share of dead features, then the highest explained variance.",
        order=(("k", "low"), ("dead", "low"), ("ev_total", "high")),
        report=(5, 512),
        report_words="Only 74 features, strong magnitudes",
    ),
    Rule(
        use="Balanced sparse features",
        text="At least 90 % of the best explained variance and at most two thirds of the features dead; "
        "among those the smallest K, then the highest explained variance.",
        conditions=(Condition("ev_total", share_of_best=0.9), Condition("dead", at_most=2 / 3)),
        order=(("k", "low"), ("ev_total", "high"), ("dead", "low")),
        report=(20, 1024),
        report_words="357 active features, 81.3% EV",
    ),
    Rule(
        use="High-quality reconstruction",
        text="At most 10 % of the features dead; among those the highest explained variance, then the fewest dead.",
        conditions=(Condition("dead", at_most=0.1),),
        order=(("ev_total", "high"), ("dead", "low"), ("d_sae", "low")),
        report=(100, 1024),
        report_words="Best EV (0.880), low feature death",
    ),
    Rule(
        use="Memory-constrained deployment",
        text="At least 90 % of the best explained variance; among those the fewest parameters, then the smallest K.",
        conditions=(Condition("ev_total", share_of_best=0.9),),
        order=(("parameters", "low"), ("k", "low"), ("ev_total", "high")),
        report=(20, 512),
        report_words="Smallest model, 80.4% EV",
    ),
)


@dataclass(frozen=True)
class Recommendation:
    """What a rule picks from a table. Picks are index labels of that table; None where nothing qualifies."""

    use: str
    rule: str
    pick_index: object | None
    reason: str
    runner_up_index: object | None
    runner_up_reason: str
    report_pick: tuple[int, int] | None
    report_words: str


def recommend(table: pd.DataFrame, rules: tuple[Rule, ...] = RULES) -> list[Recommendation]:
    """Apply each rule to a table with one line a configuration (seeds averaged).

    Args:
        table: columns k, d_sae, ev_total, dead (share), and where known parameters (a count; else d_sae
            stands in for it, since at one d_in the parameters grow with the dictionary). A line that misses
            a value which a rule reads is left out of that rule.

    Raises:
        UserError: if one of the first four columns is missing, or the index has repeats.
    """
    missing = [name for name in ("k", "d_sae", "ev_total", "dead") if name not in table.columns]
    if missing:
        raise UserError(f"the configuration guide needs the column {missing[0]!r}")
    if not table.index.is_unique:
        raise UserError("the configuration guide needs one line a configuration with an index without repeats")
    if "parameters" not in table.columns:
        table = table.assign(parameters=table["d_sae"])
    return [_apply(rule, table) for rule in rules]


def _apply(rule: Rule, table: pd.DataFrame) -> Recommendation:
    read = {condition.column for condition in rule.conditions} | {column for column, _ in rule.order}
    measured = table.dropna(subset=sorted(read | set(_RUN_KEYS)))
    good = pd.Series(True, index=measured.index)
    for condition in rule.conditions:
        good &= condition.holds(measured)
    columns = [column for column, _ in rule.order]
    ranked = measured[good].sort_values(columns, ascending=[way == "low" for _, way in rule.order], kind="stable")

    def answer(pick: object, reason: str, second: object = None, second_reason: str = "") -> Recommendation:
        return Recommendation(rule.use, rule.text, pick, reason, second, second_reason, rule.report, rule.report_words)

    if not len(measured):
        return answer(None, "No configuration has all the metrics that this rule reads.")
    if not len(ranked):
        return answer(None, f"None of the {len(measured)} configurations meets the conditions.")
    best = ranked.iloc[0]
    reason = f"{_metrics(best)}; first of {len(ranked)} that qualify."
    if len(ranked) == 1:
        return answer(ranked.index[0], reason, None, "No other configuration qualifies.")
    second = ranked.iloc[1]
    return answer(ranked.index[0], reason, ranked.index[1], f"{_metrics(second)}; {_behind(rule, best, second)}.")


def _metrics(line: pd.Series) -> str:
    return (
        f"K = {line['k']:g}, {line['d_sae']:,.0f} features: explained variance {line['ev_total']:.3f}, "
        f"{line['dead']:.1%} dead".replace("%", " %")
    )


_WORDS = {
    ("k", "low"): "larger K",
    ("dead", "low"): "more dead features",
    ("ev_total", "high"): "lower explained variance",
    ("parameters", "low"): "more parameters",
    ("d_sae", "low"): "larger dictionary",
}


def _behind(rule: Rule, best: pd.Series, second: pd.Series) -> str:
    """By which of the rule's criteria the runner-up came second."""
    for column, way in rule.order:
        if not np.isclose(best[column], second[column], rtol=0, atol=0):
            return f"second by its {_WORDS.get((column, way), column)}"
    return "equal by every criterion, listed later"
