"""The Pairs page: a table of pairs, the block of their features, and one pair row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from sae.ui import address, heat_map, loaded, page, pair_view, pickers, reproduce
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import count
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from sae.analysis.codes import FeatureActivations
    from sae.workspace.runs import RunFolder

SIGNS = {"together": "together", "apart": "apart"}
MEASURES = {"pearson": "Pearson's r", "phi": "phi", "jaccard": "Jaccard", "lift": "lift"}
BLOCK = 24  # features in the block
SHOWN = 500  # pairs in the table


class Choices(NamedTuple):
    """What stands in the page's row of controls."""

    sign: str
    by: str
    support: int
    only: int | None


def controls() -> Choices:
    """Sign, order, support and a feature, all in the address."""
    sign = pickers.pick_choice("Pairs", list(SIGNS), name="sign", default="together", format=SIGNS.__getitem__)
    by = pickers.pick_choice("Sort by", list(MEASURES), name="by", default="pearson", format=MEASURES.__getitem__)
    support = pickers.pick_number(
        "Least rows together", name="support", default=20, low=5, high=1_000_000,
        help="Rows on which both are active; for pairs that keep apart, the rows chance would give them.",
    )  # fmt: skip
    only = pickers.pick_text("With feature", name="with_feature", placeholder="any")
    number = only.strip().removeprefix("#")
    return Choices(sign or "together", by or "pearson", int(support), int(number) if number.isdecimal() else None)


def show(run: RunFolder, choices: Choices) -> None:
    """The table beside the block, and the chosen pair below."""
    codes = loaded.codes(run)
    table = filtered(_pairs(run, choices.sign), choices)
    if table.empty:
        _nothing(choices, codes)
        return
    a, b = chosen_pair(table, codes.d_sae)
    left, right = st.columns([1.25, 1], gap="medium")
    with left:
        _table(run, table, choices, codes.n_rows)
    with right:
        _block(run, codes, table, (a, b))
    pair_view.show(run, codes, a, b)


def filtered(pairs: pd.DataFrame, choices: Choices) -> pd.DataFrame:
    """The pairs that the controls ask for, in their order, at most 500."""
    if choices.sign == "together":
        kept = (pairs["pearson"] > 0) & (pairs["n_both"] >= choices.support)
    else:
        kept = (pairs["pearson"] < 0) & (pairs["expected"] >= choices.support)
    if choices.only is not None:
        kept &= (pairs["a"] == choices.only) | (pairs["b"] == choices.only)
    rising = choices.sign == "apart"
    return pairs[kept].sort_values(choices.by, ascending=rising, kind="stable").head(SHOWN).reset_index(drop=True)


def chosen_pair(table: pd.DataFrame, d_sae: int) -> tuple[int, int]:
    """The pair of the address, or the first of the table; one that can't be is said so."""
    first = int(table["a"].iloc[0]), int(table["b"].iloc[0])
    asked = address.get("a"), address.get("b")
    if None in asked:
        return first
    try:
        a, b = (int(text or "") for text in asked)
    except ValueError:
        a = b = -1
    if 0 <= a < d_sae and 0 <= b < d_sae and a != b:
        return a, b
    page.note(f"There is no pair {asked[0]} and {asked[1]} in an SAE of {d_sae:,} features; this is the first listed.")
    return first


def _pairs(run: RunFolder, sign: str) -> pd.DataFrame:
    if sign == "together":
        return _with_expected(str(run.folder), pair_view.modified(run), loaded.pairs(run), loaded.codes(run).n_rows)
    return _apart(str(run.folder), pair_view.modified(run))


@st.cache_resource(max_entries=16, show_spinner=False)
def _with_expected(folder: str, modified: int, _pairs: pd.DataFrame, n_rows: int) -> pd.DataFrame:
    return _pairs if "expected" in _pairs else _pairs.assign(expected=_pairs["n_a"] * _pairs["n_b"] / max(n_rows, 1))


@st.cache_resource(max_entries=16, show_spinner="Looking for pairs that keep apart")
def _apart(folder: str, modified: int) -> pd.DataFrame:
    from pathlib import Path

    from sae.analysis.pairs import PAIR_ENTRIES, anticorrelated_pairs
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    codes = loaded.codes(run).sample(PAIR_ENTRIES)
    return anticorrelated_pairs(codes, W_dec=loaded.directions(run)).assign(n_rows=codes.n_rows)


def _nothing(choices: Choices, codes: FeatureActivations) -> None:
    of = f" with feature {choices.only}" if choices.only is not None else ""
    st.info(
        f"No pair passes: none of the listed pairs{of} has {count(choices.support)} rows or more "
        f"{'together' if choices.sign == 'together' else 'expected together'}. Lower the bar with “Least rows "
        "together”, or take away the feature."
    )
    st.button("Take the lowest bar", on_click=address.choose, kwargs={"drop": ("with_feature",), "support": 5})
    st.caption(f"The run has {count(int((codes.n_active > 0).sum()))} living features on {count(codes.n_rows)} rows.")


def _table(run: RunFolder, table: pd.DataFrame, choices: Choices, n_rows: int) -> None:
    taken = int(table["n_rows"].iloc[0]) if "n_rows" in table else n_rows
    of_rows = f", counted on {count(taken)} of {count(n_rows)} rows" if taken < n_rows else ""
    labels = {feature: note.label for feature, note in Notes(run.folder).all().items() if note.label}
    shown = table[
        ["a", "b", "pearson", "phi", "jaccard", "lift", "n_both", "n_a", "n_b", "decoder_cosine", "q_value"]
    ].copy()
    if labels:
        shown.insert(2, "labels", [
            " | ".join(filter(None, (labels.get(int(a), ""), labels.get(int(b), "")))) for a, b in
            zip(table["a"], table["b"], strict=True)
        ])  # fmt: skip

    def opened() -> None:
        cells = st.session_state["pair_table"]["selection"]["cells"]
        if cells and cells[0][0] < len(table):
            line = table.iloc[cells[0][0]]
            address.choose(a=int(line["a"]), b=int(line["b"]))

    number = st.column_config.NumberColumn
    table_panel(
        shown, key="pair_table", title="Pairs of features", height=310, n=f"{len(table):,} pairs{of_rows}",
        meaning=f"Pairs with r {'above' if choices.sign == 'together' else 'below'} 0, by {MEASURES[choices.by]}; a "
        "click opens one.",
        formula="With $n$ rows, $n_a$ and $n_b$ active rows, $C$ rows together, and $G$ the sum of products of "
        r"activations: $$r = \frac{G - S_a S_b / n}{\sqrt{(Q_a - S_a^2/n)(Q_b - S_b^2/n)}}$$ over all rows, "
        r"zeros included; $$\phi = \frac{nC - n_a n_b}{\sqrt{n_a n_b (n-n_a)(n-n_b)}}$$ Jaccard $C / (n_a + n_b - C)$, "
        "lift $nC / (n_a n_b)$. $q$: hypergeometric tail, Benjamini and Hochberg over all pairs of living features; it "
        "takes rows as independent, and a top-K code makes features repel each other a little by construction.",
        filename=f"{run.id}-pairs-{choices.sign}", on_select=opened,
        reproduce=reproduce.of_run(
            run, f"run pairs {run.id} --json --limit 2000",
            "run.pairs" if choices.sign == "together" else
            "from sae.analysis.pairs import anticorrelated_pairs\n\nanticorrelated_pairs(run.codes)",
        ),
        columns={
            "a": number("First", format="%d", width=50), "b": number("Second", format="%d", width=58),
            "labels": st.column_config.TextColumn("Labels", width=110),
            "pearson": number("r", format="%.3f", width=55), "phi": number("phi", format="%.3f", width=55),
            "jaccard": number("Jaccard", format="%.3f", width=62), "lift": number("Lift", format="%.2f", width=55),
            "n_both": number("Both", format="localized", width=52, help="Rows on which both are active"),
            "n_a": number("First on", format="localized", width=62),
            "n_b": number("Second on", format="localized", width=70),
            "decoder_cosine": number("Decoder cosine", format="%.2f"), "q_value": number("q", format="%.2g", width=60),
        },
    )  # fmt: skip


def _block(run: RunFolder, codes: FeatureActivations, table: pd.DataFrame, pair: tuple[int, int]) -> None:
    from sae.analysis.pairs import pearson_block
    from sae.figures.pairs import pair_block

    features = block_features(table, pair)
    block = pearson_block(codes, np.array(features))
    figure = kept(pair_block, block, features, n_rows=codes.n_rows, selected=pair, theme=page.theme(), height=310)
    places = pd.DataFrame(block, columns=[str(feature) for feature in features])
    places.insert(0, "feature", features)

    def opened() -> None:
        found = heat_map.clicked("pair_block")
        if isinstance(found, list) and found[0] != found[1]:
            address.choose(a=int(found[0]), b=int(found[1]))

    figure_panel(
        figure, places, key="pair_block", title="Features of the first pairs", on_select=opened,
        meaning="A click opens a pair.", formula="Pearson's r over all rows among the features of the pairs listed "
        "first, in the order in which they come up. The diagonal is left out.", filename=f"{run.id}-pair-block",
        reproduce=reproduce.of_run(
            run, f"run pairs {run.id} --json",
            "import numpy as np\nfrom sae.analysis.pairs import pearson_block\n"
            "from sae.figures.pairs import pair_block\n\n"
            f"features = {features}\nblock = pearson_block(run.codes, np.array(features))\n"
            f"pair_block(block, features, n_rows={codes.n_rows}).show()",
        ),
    )  # fmt: skip


def block_features(table: pd.DataFrame, pair: tuple[int, int], most: int = BLOCK) -> list[int]:
    """The features of the first pairs in the order in which they come up, the chosen pair's among them."""
    found: list[int] = []
    for a, b in zip(table["a"], table["b"], strict=True):
        for feature in (int(a), int(b)):
            if feature not in found:
                found.append(feature)
        if len(found) >= most:
            break
    missing = [feature for feature in pair if feature not in found[:most]]
    spare = [feature for feature in found[:most] if feature not in pair]
    left_out = spare[most - len(pair) :]
    return [feature for feature in found[:most] if feature not in left_out] + missing
