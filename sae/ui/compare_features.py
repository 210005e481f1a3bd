"""Features of one run matched with another's: how similar beside chance, what became of each, and the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from sae.ui import address, compare_cards, compare_runs, matched, page, pickers, reproduce
from sae.ui.compare_differences import reads
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel, table_panel
from sae.ui.strongest import strongest_texts
from sae.ui.words import number, plain, share
from sae.workspace.comparing import why_not
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from sae.analysis.matching import By, Matching
    from sae.workspace.runs import RunFolder

BY: dict[By, str] = {"cosine": "Decoder cosine", "correlation": "Activation correlation"}
CHANCE = {
    "random": "random directions",
    "alike": "random, spread as decoders",
    "permuted": "rows permuted",
}
FATES = {
    "matched": "One partner in the other, at the threshold or above",
    "split": "Two features or more in the other are nearest to it, at the threshold or above",
    "merged": "Its nearest is the nearest of another feature here as well",
    "weak": "Alike above chance, below the threshold",
    "lost": "Nothing in the other is more alike than chance reaches in 999 of 1,000 cases",
}
HEIGHT = 240
_DEFINITIONS = (
    "With $s_{ij}$ the similarity of feature i here and j there, the pairs maximise $\\sum s_{i,\\pi(i)}$ over "
    "one-to-one assignments (Hungarian); nothing is paired at 0 or below. Decoder cosine is that of decoder rows, "
    "activation correlation is Pearson's r over the shared rows, zeros included; where one selects by magnitude, the "
    "sizes of both. Only features that are active on some row take part.\n\n"
    "Chance: the largest cosine with as many independent random directions, uniform on the sphere, and drawn with the "
    "mean and covariance of each decoder's rows (2,000 draws); for correlations, after permuting the rows of one. "
    "Lines lie at its median; *lost* is read against the 99.9 % quantile of the last one.\n\n"
    + "\n".join(f"- {name}: {text[:1].lower()}{text[1:]}." for name, text in FATES.items())
)


class Choices(NamedTuple):
    """What stands in the page's row of controls: the place of the second run, what can be had, and what was chosen."""

    at: int
    reasons: dict[By, str | None]
    by: By | None
    threshold: float
    side: int
    fate: str


def controls(runs: Sequence[RunFolder]) -> Choices:
    """The second run, the similarity, the threshold, and what to list, all in the address."""
    names, at = compare_runs.names(runs), 1
    if len(runs) > 2:
        with st.container(width=150):
            places = list(range(2, len(runs) + 1))
            at = (pickers.pick_choice(
                "First run against", places, name="with", default=2, format=lambda place: names[place - 1],
                resets=("feature", "partner"),
            ) or 2) - 1  # fmt: skip
    reasons = why_not(page.workspace(), runs[0], runs[at])
    possible = [by for by in BY if reasons[by] is None]
    if not possible:
        return Choices(at, reasons, None, 1.0, 1, "all")
    with st.container(width=180):
        by = pickers.pick_choice("Similarity", possible, name="by", default=possible[0], format=BY.__getitem__)
    with st.container(width=125):
        threshold = pickers.pick_number(
                "Threshold", name="threshold", default=0.7, low=0.05, high=1.0, step=0.05,
                help="From which similarity on two features count as the same.",
            )  # fmt: skip
    with st.container(width=150):
        side = pickers.pick_choice(
                "List features of", [1, 2], name="list", default=1,
                format=lambda place: names[0] if place == 1 else names[at],
            )  # fmt: skip
    with st.container(width=125):
        fate = pickers.pick_choice("Show", ["all", *FATES], name="fate", default="all")
    return Choices(at, reasons, by, float(threshold), int(side or 1), fate or "all")


def show(runs: Sequence[RunFolder], choices: Choices) -> None:
    """Distribution and counts, the table of pairs, and the cards of the pair that is open."""
    names = compare_runs.names(runs)
    _said_why_not(choices.reasons)
    if choices.by is None:
        st.info("Their numbers can still be held against each other: see Differences.")
        return
    pair = (runs[0], runs[choices.at])
    found = matched.matching(*pair, choices.by)
    _table(pair, (names[0], names[choices.at]), found, choices.threshold, choices.side, choices.fate)


def _said_why_not(reasons: dict[By, str | None]) -> None:
    for by, reason in reasons.items():
        if reason is not None:
            st.caption(plain(f"{BY[by]} can't be had: {reason}."))


def _table(
    pair: tuple[RunFolder, RunFolder],
    names: tuple[str, str],
    found: Matching,
    threshold: float,
    side: int,
    fate: str,
) -> None:
    from sae.analysis.matching_fates import counted, fates

    sides = fates(found, threshold), fates(found.swapped(), threshold)
    if sides[0].empty or sides[1].empty:
        dead = names[0] if sides[0].empty else names[1]
        st.info(f"No feature of {plain(dead)} is ever active: there is nothing to match.")
        return
    listed = listing(pair, sides, side, fate)
    left, right = st.columns([1.35, 1], gap="medium")
    with left:
        _distribution(pair, found, threshold)
    with right:
        _counts(pair, names, found, counted(*sides), sides, threshold)
    _pairs(pair, names, found, listed, side, fate, threshold)
    chosen = chosen_pair(listed, side, found)
    if chosen is not None:
        with page.errors_shown("showing the two cards"):
            compare_cards.show(pair, names, chosen, found, threshold)


def listing(
    pair: tuple[RunFolder, RunFolder], sides: tuple[pd.DataFrame, pd.DataFrame], side: int, fate: str
) -> pd.DataFrame:
    """The lines of one side, the most similar pair first: its fate, what it is called and its strongest example."""
    run, table = pair[side - 1], sides[side - 1]
    if fate != "all":
        table = table[table["fate"] == fate]
    table = table.sort_values(["similarity", "nearest_similarity", "feature"], ascending=[False, False, True])
    labels = [{key: note.label for key, note in Notes(one.folder).all().items()} for one in pair]
    table = table.assign(label=[labels[side - 1].get(int(feature), "") for feature in table["feature"]])
    texts = strongest_texts(run)
    table["text"] = [texts[feature] for feature in table["feature"]]
    return table.reset_index(drop=True)


def chosen_pair(listed: pd.DataFrame, side: int, found: Matching) -> tuple[int, int] | None:
    """(feature of the first, feature of the second) of the address, or the first of the list; what can't be is said."""
    asked = address.get("feature"), address.get("partner")
    if None not in asked:
        try:
            a, b = (int(text or "") for text in asked)
        except ValueError:
            a = b = -1
        if (found.features["feature"] == a).any() and (found.others["feature"] == b).any():
            return a, b
        page.note(
            f"There are no living features {asked[0]} and {asked[1]} in these runs; this is the first pair listed."
        )
    return _pair_of(listed.iloc[0], side) if len(listed) else None


def _pair_of(line: pd.Series, side: int) -> tuple[int, int]:
    """A feature with its partner, or where it has none, with its nearest."""
    other = int(line["partner"]) if line["partner"] >= 0 else int(line["nearest"])
    return (int(line["feature"]), other) if side == 1 else (other, int(line["feature"]))


def _distribution(pair: tuple[RunFolder, RunFolder], found: Matching, threshold: float) -> None:
    from sae.figures.columns import binned
    from sae.figures.matching import similarity_histogram

    paired = found.features[found.features["partner"] >= 0]
    values = paired["similarity"].to_numpy()
    table = binned(values, bins=50, low=min(0.0, float(values.min(initial=0))), high=1.0)
    figure = kept(
        similarity_histogram, table, {CHANCE[null.name]: null.median for null in found.nulls}, threshold=threshold,
        x_title=f"{BY[found.by]} of matched features", theme=page.theme(), height=HEIGHT + 60,
    )  # fmt: skip
    figure_panel(
        figure, table, key="compare_distribution", title=f"{BY[found.by]} of matched features",
        meaning="Pairs matched one to one, beside what chance reaches at the median.", formula=_DEFINITIONS,
        n=f"{len(paired):,} pairs of {len(found.features):,} and {len(found.others):,} living features",
        filename=f"{pair[0].id}-{pair[1].id}-{found.by}", reproduce=recipe(pair, found.by, threshold),
    )  # fmt: skip


def _counts(
    pair: tuple[RunFolder, RunFolder],
    names: tuple[str, str],
    found: Matching,
    table: pd.DataFrame,
    sides: tuple[pd.DataFrame, pd.DataFrame],
    threshold: float,
) -> None:
    number_column = st.column_config.NumberColumn
    mean = float(found.features["similarity"].mean())
    floor = found.nulls[-1] if found.nulls else None
    counts = table[["fate", "first", "first_share", "second", "second_share"]]
    table_panel(
        counts.assign(means=[FATES[fate] for fate in table["fate"]]), shown=counts, key="compare_counts",
        title="What became of the features", n=f"{len(sides[0]):,} and {len(sides[1]):,} living features",
        meaning=f"Threshold {threshold:.2f}"
        + (f"; lost at or below {floor.high:.2f} ({CHANCE[floor.name]}, 99.9 %)." if floor else "."),
        formula=_DEFINITIONS, filename=f"{pair[0].id}-{pair[1].id}-fates",
        columns={
            "fate": st.column_config.TextColumn("", width=70),
            "first": number_column(names[0], format="localized", width=100),
            "first_share": number_column("Share", format="percent", width=65),
            "second": number_column(names[1], format="localized", width=100),
            "second_share": number_column("Share", format="percent", width=65),
        },
        reproduce=recipe(pair, found.by, threshold),
    )  # fmt: skip
    if floor and floor.high >= threshold:
        st.warning(
            f"Chance reaches {floor.high:.2f} in 1 of 1,000 cases, which is above the threshold: what is matched here "
            "need not be the same feature."
        )
    proof = "the largest possible" if found.gap < 1e-3 else f"at most {number(found.gap, 2)} below the largest possible"
    st.caption(
        " ".join(f"*{fate[:1].upper()}{fate[1:]}*: {text[:1].lower()}{text[1:]}." for fate, text in FATES.items())
    )
    st.caption(
        f"Mean similarity of all living features of the first: {number(mean)}; at the threshold or above: "
        f"{share(float((found.features['similarity'] >= threshold).mean()))}. The total is {proof}."
    )


def _pairs(
    pair: tuple[RunFolder, RunFolder],
    names: tuple[str, str],
    found: Matching,
    listed: pd.DataFrame,
    side: int,
    fate: str,
    threshold: float,
) -> None:
    def opened() -> None:
        cells = st.session_state["compare_pairs"]["selection"]["cells"]
        if cells and cells[0][0] < len(listed):
            a, b = _pair_of(listed.iloc[cells[0][0]], side)
            address.choose(feature=a, partner=b)

    if listed.empty:
        st.info(f"No feature of {plain(names[side - 1])} is {plain(fate)}.")
        return
    column = st.column_config.NumberColumn
    text = st.column_config.TextColumn
    shown = listed.assign(partner=listed["partner"].where(listed["partner"] >= 0))
    if not (shown["label"] != "").any():
        shown = shown.drop(columns="label")
    table_panel(
        listed, shown=shown, key="compare_pairs", title="Pairs" if fate == "all" else f"Pairs: {fate}", height=230,
        meaning="The most similar first; a click opens the two cards below.", n=f"{len(listed):,} features of "
        f"{names[side - 1]}", formula=_DEFINITIONS, filename=f"{pair[0].id}-{pair[1].id}-pairs", on_select=opened,
        columns={
            "feature": column("Feature", format="%d", width=65, help=plain(names[side - 1])),
            "partner": column("Partner", format="%d", width=65, help=plain(names[2 - side])),
            "similarity": column("Similarity", format="%.3f", width=75),
            "nearest": column("Nearest", format="%d", width=65, help="The most similar, whoever else has it"),
            "nearest_similarity": column("Its similarity", format="%.3f", width=90),
            "fate": text("Fate", width=75), "label": text("Label", width=110),
            "family": column("Family", format="%d", width=58, help="Features of the other to which this is nearest, at "
                             "the threshold or above"),
            "text": text("Strongest example", width=430),
        },
        reproduce=recipe(pair, found.by, threshold),
    )  # fmt: skip


def recipe(pair: Sequence[RunFolder], by: By, threshold: float) -> reproduce.Reproduce:
    """The command and the Python that match two runs again."""
    first, second = pair[0].id, pair[1].id
    return reproduce.Reproduce(
        f"python -m sae run compare {first} {second} --by {by} --threshold {threshold:g} --json",
        "import sae\nfrom sae.analysis.matching_fates import counted, fates\n\n"
        f'found = sae.open("{first}").match(sae.open("{second}"), by="{by}")\n'
        f"one, other = fates(found, {threshold:g}), fates(found.swapped(), {threshold:g})\ncounted(one, other)",
        reads(list(pair)),
    )
