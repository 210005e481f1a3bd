"""Every feature of a run in one table: found by number, label or text, filtered and sorted, as the page lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.workspace.notes import FeatureNote

DENSE, RARE = 0.5, 0.01

SORTS: dict[str, str] = {
    "max_activation": "largest activation",
    "n_active": "rows active",
    "mean_activation": "mean activation",
    "n_examples": "examples",
    "goes_with_f1": "label it goes with (F1)",
    "seed_cosine": "median cosine in other seeds",
    "max_decoder_cosine": "nearest decoder direction",
    "label": "label",
    "feature": "number",
}

SHOWN: dict[str, str] = {
    "all": "all features",
    "living": "living",
    "dead": "dead",
    "dense": "dense (active on over 50 % of rows)",
    "rare": "rare (active on under 1 % of rows)",
    "confirmed": "going with a label (confirmed)",
    "stable": "found again in every other seed",
    "unstable": "found again in no other seed",
    "labelled": "labelled",
    "bookmarked": "bookmarked",
}


def listing(
    features: pd.DataFrame,
    notes: Mapping[int, FeatureNote],
    lists: Mapping[str, Sequence[int]],
    texts: Sequence[tuple[str, ...]],
    *,
    goes_with: pd.DataFrame | None = None,
    stability: pd.DataFrame | None = None,
    search: str = "",
    show: str = "all",
    sort: str = "max_activation",
    rising: bool = False,
) -> pd.DataFrame:
    """The lines to show, in order.

    Args:
        features: the run's feature table, a line a feature in the order of their numbers.
        texts: by feature the beginnings of its strongest examples; empty where there are none.
        goes_with: by feature the label it goes with (`sae.analysis.specificity`): `label`, `heldout_f1`, `confirmed`.
        stability: of living features the other seeds that have it (`sae.analysis.matching_seeds`): `found`, `seeds`,
            `median_similarity`.
        search: a number (`317` or `#317`), or words that must all occur in the label, the label it goes with or the
            texts, in any case.
        show: a key of `SHOWN`, or `list NAME`.
        sort: a key of `SORTS`; what has no value comes last, equal values by number.

    Returns:
        feature, label, bookmark, density, goes_with (None where nothing is confirmed), goes_with_f1 (on the held-out
        half), found (again in how many other seeds), seed_cosine (the median over them), n_active, n_examples,
        max_activation, mean_activation, mean_signed, max_decoder_cosine, nearest_feature, dead, text (of the strongest
        example).

    Raises:
        UserError: for a filter or an order that is not known.
    """
    table = features[
        [
            "feature", "density", "n_active", "n_examples", "max_activation", "mean_activation", "mean_signed",
            "max_decoder_cosine", "nearest_feature", "dead",
        ]
    ].copy()  # fmt: skip
    labels = [""] * len(table)
    marked = np.zeros(len(table), bool)
    for feature, note in notes.items():
        if 0 <= feature < len(table):
            labels[feature], marked[feature] = note.label, note.bookmark
    table.insert(1, "label", labels)
    table.insert(2, "bookmark", marked)
    named, f1 = _confirmed(goes_with, len(table))
    at = list(table.columns).index("n_active")
    table.insert(at, "goes_with", named)
    table.insert(at + 1, "goes_with_f1", f1)
    again, cosine, seeds = _found_again(stability, len(table))
    table.insert(at + 2, "found", again)
    table.insert(at + 3, "seed_cosine", cosine)
    table["text"] = [text[0] if text else "" for text in texts] if len(texts) else ""
    kept = _shown(table, lists, show, seeds) & _found(table, texts, search)
    return _sorted(table[kept], sort, rising)


def _confirmed(goes_with: pd.DataFrame | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The label that each feature goes with and its F1; None and NaN where nothing is confirmed."""
    if goes_with is None:
        return np.full(n, None, object), np.full(n, np.nan)
    sure = goes_with["confirmed"].to_numpy(bool)
    named = [label if found else None for label, found in zip(goes_with["label"], sure, strict=True)]
    return np.array(named, object), goes_with["heldout_f1"].where(sure).to_numpy(float)


def _found_again(stability: pd.DataFrame | None, n: int) -> tuple[np.ndarray, np.ndarray, int]:
    """In how many other seeds each feature is found and its median cosine, NaN for the dead; and how many seeds."""
    again, cosine = np.full(n, np.nan), np.full(n, np.nan)
    if stability is None or stability.empty:
        return again, cosine, 0
    again[stability["feature"]], cosine[stability["feature"]] = stability["found"], stability["median_similarity"]
    return again, cosine, int(stability["seeds"].iloc[0])


def _shown(table: pd.DataFrame, lists: Mapping[str, Sequence[int]], show: str, seeds: int) -> np.ndarray:
    if show.startswith("list "):
        return table["feature"].isin(list(lists.get(show.removeprefix("list "), []))).to_numpy()
    tests = {
        "all": lambda: np.ones(len(table), bool),
        "living": lambda: ~table["dead"].to_numpy(bool),
        "dead": lambda: table["dead"].to_numpy(bool),
        "dense": lambda: (table["density"] > DENSE).to_numpy(),
        "rare": lambda: ((table["density"] > 0) & (table["density"] < RARE)).to_numpy(),
        "confirmed": lambda: table["goes_with"].notna().to_numpy(),
        "stable": lambda: (table["found"] == seeds).to_numpy(),
        "unstable": lambda: (table["found"] == 0).to_numpy(),
        "labelled": lambda: (table["label"] != "").to_numpy(),
        "bookmarked": lambda: table["bookmark"].to_numpy(bool),
    }
    if show not in tests:
        raise UserError(f"features can't be filtered by {show!r}; filters are: {', '.join(tests)}")
    return tests[show]()


def _found(table: pd.DataFrame, texts: Sequence[tuple[str, ...]], search: str) -> np.ndarray:
    words = search.lower().split()
    if not words:
        return np.ones(len(table), bool)
    if len(words) == 1 and words[0].removeprefix("#").isdecimal() and words[0].isascii():
        number = int(words[0].removeprefix("#"))
        exact = (table["feature"] == number).to_numpy()
        if words[0].startswith("#"):
            return exact
        return exact | _has(table, texts, words)  # a number may also be what somebody looks for in the texts
    return _has(table, texts, words)


def _has(table: pd.DataFrame, texts: Sequence[tuple[str, ...]], words: Sequence[str]) -> np.ndarray:
    bodies = texts if len(texts) else [()] * len(table)
    labels = zip(table["label"], table["goes_with"].fillna(""), bodies, strict=True)
    wholes = ["\n".join([label, goes_with, *body]).lower() for label, goes_with, body in labels]
    return np.array([all(word in whole for word in words) for whole in wholes], bool)


def _sorted(table: pd.DataFrame, sort: str, rising: bool) -> pd.DataFrame:
    if sort not in SORTS:
        raise UserError(f"features can't be sorted by {sort!r}; orders are: {', '.join(SORTS)}")
    if sort == "max_decoder_cosine":
        key: pd.Series = table[sort].abs()
    elif sort == "label":
        key = table[sort].str.lower().where(table[sort] != "")
    else:
        key = table[sort]
    ordered = table.assign(_key=key).sort_values(
        ["_key", "feature"], ascending=[rising, True], na_position="last", kind="stable"
    )
    return ordered.drop(columns="_key").reset_index(drop=True)


def columns(seeds: int = 0) -> dict[str, Any]:
    """How Streamlit writes each column of a listing; None hides one. `seeds`: how many other seeds there are."""
    number = st.column_config.NumberColumn
    return {
        "feature": number("Feature", width=65, format="%d", pinned=True),
        "label": st.column_config.TextColumn("Label", width=120),
        "bookmark": st.column_config.CheckboxColumn("Mark", width=50, help="Bookmarked"),
        "density": number("Density", format="percent", width=70, help="Share of rows on which it is active"),
        "n_active": number("Rows", format="localized", width=65, help="Rows on which it is active"),
        "n_examples": number("Examples", format="localized", width=75, help="Examples with an active row"),
        "goes_with": st.column_config.TextColumn(
            "Goes with",
            width=130,
            help="The label that its examples have more often than others: found on one half, confirmed on the other",
        ),
        "goes_with_f1": number("F1", format="%.2f", width=45, help="Of the label it goes with, on the held-out half"),
        "found": number(
            "Seeds",
            format=f"%d of {seeds}",
            width=62,
            help="Other seeds in which it is found again (cosine of .7 or more)",
        ),
        "seed_cosine": number(
            "Seed cosine", format="%.2f", width=80, help="Median cosine of its matches in other seeds"
        ),
        "max_activation": number("Max", format="%.3g", width=65, help="Largest |activation|"),
        "mean_activation": number("Mean", format="%.3g", width=65, help="Mean |activation| over active rows"),
        "mean_signed": None,
        "max_decoder_cosine": number("Nearest cosine", format="%.2f", help="Cosine to the nearest living decoder row"),
        "nearest_feature": number("Nearest", format="%d", width=70),
        "dead": None,
        "text": st.column_config.TextColumn("Strongest example", width=420),
    }


def neighbours(order: Sequence[int], feature: int) -> tuple[int | None, int | None, int | None]:
    """The features before and after `feature` in `order`, and its place (0-based); None where there is none.

    A feature that is not in `order` (the filter hides it) has the first one after it.
    """
    found = np.flatnonzero(np.asarray(order) == feature)
    if not len(found):
        return None, (int(order[0]) if len(order) else None), None
    at = int(found[0])
    return (int(order[at - 1]) if at else None), (int(order[at + 1]) if at + 1 < len(order) else None), at
