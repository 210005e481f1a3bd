"""Two features side by side, each from its own run, on one scale of colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import streamlit as st

from sae.ui import address, card_examples, compare_runs, empty, loaded, page, pickers
from sae.ui.activation_panel import activation_panel
from sae.ui.tokens import token_strip
from sae.ui.words import count, number, plain, plural, share
from sae.workspace.comparing import why_not
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from sae.analysis.matching import Matching
    from sae.workspace.runs import RunFolder

Whose = Literal["own", "first", "second"]
EXAMPLES = 5
_MOST_FAMILY = 12


def show(
    pair: tuple[RunFolder, RunFolder],
    names: tuple[str, str],
    features: tuple[int, int],
    found: Matching,
    threshold: float,
) -> None:
    """What the two have in common, then a card each."""
    shared = why_not(page.workspace(), *pair)["correlation"] is None
    with st.container(key="compare_cards_pair", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            st.subheader(f"Feature {features[0]:,} and feature {features[1]:,}", anchor=False, width="stretch")
            whose: Whose = "own"
            if shared and _same_slice(pair):
                whose = pickers.pick_choice(
                    "Examples", ["own", "first", "second"], name="examples_of", default="own", format=_whose_text,
                    look="buttons", visible=False,
                ) or "own"  # fmt: skip
        st.markdown(_in_common(pair, features, found, shared))
        _family(features, found, threshold)
        largest = [float(loaded.features(run)["max_activation"].iloc[j]) for run, j in zip(pair, features, strict=True)]
        sides = st.columns(2, gap="medium")
        for at in (0, 1):
            with sides[at], page.errors_shown("showing a card"):
                _card(pair, names, features, at, whose, max(largest))


def _whose_text(whose: Whose) -> str:
    return {"own": "Each its strongest", "first": "The first's, in both", "second": "The second's, in both"}[whose]


def _same_slice(pair: tuple[RunFolder, RunFolder]) -> bool:
    one, other = (run.config["data"] for run in pair)
    return (one["sha256"], one["start"]) == (other["sha256"], other["start"])


def _in_common(pair: tuple[RunFolder, RunFolder], features: tuple[int, int], found: Matching, shared: bool) -> str:
    words = []
    W = [loaded.directions(run) for run in pair]
    if W[0].shape[1] == W[1].shape[1] and why_not(page.workspace(), *pair)["cosine"] is None:
        a, b = (side[j].astype(np.float64) for side, j in zip(W, features, strict=True))
        words.append(f"decoder cosine **{number(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))}**")
    if shared:
        codes = [loaded.codes(run) for run in pair]
        rows = [side.feature(j)[0] for side, j in zip(codes, features, strict=True)]
        both = len(np.intersect1d(rows[0], rows[1], assume_unique=True))
        words.append(
            f"on {count(codes[0].n_rows)} shared rows r = **{number(_correlation(pair, features))}**, both active on "
            f"{count(both)}, only the first on {count(len(rows[0]) - both)}, only the second on "
            f"{count(len(rows[1]) - both)}"
        )
    said = "; ".join(words)
    return f"{said[:1].upper()}{said[1:]}."


def _correlation(pair: tuple[RunFolder, RunFolder], features: tuple[int, int]) -> float:
    from sae.analysis.matching_blocks import ActivationCorrelations

    codes = [loaded.codes(run) for run in pair]
    one, other = (np.array([j]) for j in features)
    return float(ActivationCorrelations(codes[0], codes[1], one, other).pairs(np.array([0]), np.array([0]))[0])


def _family(features: tuple[int, int], found: Matching, threshold: float) -> None:
    """The features that share this one as their nearest, a button each, where there is more than the pair itself."""
    for at, table in enumerate((found.others, found.features)):
        near = table[(table["nearest"] == features[at]) & (table["nearest_similarity"] >= threshold)]
        near = near.sort_values("nearest_similarity", ascending=False)
        if len(near) < 2:
            continue
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            where = "the second run" if at == 0 else "the first run"
            st.caption(f"{len(near):,} features of {where} are nearest to feature {features[at]:,}:", width="content")
            for other, value in zip(near["feature"].head(_MOST_FAMILY), near["nearest_similarity"], strict=False):
                open_now = int(other) == features[1 - at]
                st.button(
                    f"{int(other):,} ({value:.2f})", key=f"family_{at}_{other}", type="tertiary", disabled=open_now,
                    on_click=address.choose,
                    kwargs={"feature": features[0], "partner": features[1], "partner" if at == 0 else "feature":
                            int(other)},
                )  # fmt: skip
            if len(near) > _MOST_FAMILY:
                st.caption(f"and {len(near) - _MOST_FAMILY:,} more", width="content")


def _card(
    pair: tuple[RunFolder, RunFolder],
    names: tuple[str, str],
    features: tuple[int, int],
    at: int,
    whose: Whose,
    maximum: float,
) -> None:
    run, feature = pair[at], features[at]
    line = loaded.features(run).iloc[feature]
    label = Notes(run.folder).feature(feature).label
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        said = f" :gray[{plain(label)}]" if label else ""
        st.markdown(f"**{feature:,}** in **{plain(names[at])}**{said}", width="stretch")
        empty.link("features", "Its card", experiment=run.config.get("experiment"), run=run.id, feature=feature)
    n = int(line["n_active"])
    st.caption(
        f"Active on {count(n)} of {count(loaded.codes(run).n_rows)} {plural(loaded.codes(run).n_rows, 'row')} "
        f"({share(line['density'])}); largest {line['max_activation']:.3g}, mean {line['mean_activation']:.3g}."
    )
    _histogram(pair, features, at)
    lines = _lines(pair, features, at, whose)
    values = [loaded.codes(one).feature(j)[1] for one, j in zip(pair, features, strict=True)]
    token_strip(
        card_examples.shown(run, feature, lines), key=f"compare_tokens_{at}", theme=page.theme(), maximum=maximum,
        signed=any(len(side) and side.min() < 0 for side in values), of="either feature",
    )  # fmt: skip


def _lines(pair: tuple[RunFolder, RunFolder], features: tuple[int, int], at: int, whose: Whose) -> pd.DataFrame:
    """The examples of one card: its own strongest, or those of one of the two with this feature's activation."""
    source = at if whose == "own" else ("first", "second").index(whose)
    lines = card_examples.strata(pair[source], features[source], EXAMPLES)
    lines = lines[lines["stratum"] == "top"]
    if source == at:
        return lines
    rows, values = loaded.codes(pair[at]).feature(features[at])
    active = dict(zip(rows.tolist(), values.tolist(), strict=True))
    return lines.assign(activation=[active.get(int(row), 0.0) for row in lines["row"]])


def _histogram(pair: tuple[RunFolder, RunFolder], features: tuple[int, int], at: int) -> None:
    from sae.analysis.distributions import activation_histogram
    from sae.figures import activity as figures

    found = [activation_histogram(loaded.codes(run), j) for run, j in zip(pair, features, strict=True)]
    run, feature, mine = pair[at], features[at], found[at]
    figure = figures.activation_histogram(
        mine.table, n_zero=mine.n_zero, n_rows=mine.n_rows, feature=feature, theme=page.theme(), height=170
    )
    # One range for both, so that lengths can be compared; the colour is the run's.
    low = min(float(side.table["low"].min()) for side in found)
    high = max(float(side.table["high"].max()) for side in found)
    figure.update_xaxes(range=[min(low, 0.0) * 1.02, high * 1.02])
    figure.update_traces(marker_color=compare_runs.colour(at), selector={"type": "bar"})
    activation_panel(
        figure, mine.table, run=run, feature=feature, key=f"compare_histogram_{at}", meaning="Both on one range."
    )
