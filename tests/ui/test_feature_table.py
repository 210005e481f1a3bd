"""Finding, filtering and sorting features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sae.common.errors import UserError
from sae.ui.feature_table import SHOWN, SORTS, listing, neighbours
from sae.workspace.notes import FeatureNote

N_ROWS = 200
N_ACTIVE = [0, 150, 1, 20, 0, 20]
FEATURES = pd.DataFrame(
    {
        "feature": np.arange(6, dtype=np.int32),
        "density": [n / N_ROWS for n in N_ACTIVE],
        "n_active": N_ACTIVE,
        "n_examples": N_ACTIVE,
        "max_activation": [np.nan, 1.0, 9.0, 3.0, np.nan, 3.0],
        "mean_activation": [np.nan, 0.5, 9.0, 2.0, np.nan, 1.0],
        "mean_signed": 0.0,
        "max_decoder_cosine": [0.1, -0.9, 0.5, 0.2, 0.3, 0.4],
        "nearest_feature": 1,
        "dead": [n == 0 for n in N_ACTIVE],
    }
)
TEXTS = [(), ("Anna has 12 eggs", "A train"), ("Anna sells 5 trains",), ("317 cars",), (), ("b",)]
NOTES = {3: FeatureNote(label="Cars and Trains"), 1: FeatureNote(bookmark=True), 99: FeatureNote(label="elsewhere")}
LISTS = {"to check": [5, 1]}


def ids(**choice: object) -> list[int]:
    return listing(FEATURES, NOTES, LISTS, TEXTS, **choice)["feature"].tolist()  # type: ignore[arg-type]


def test_largest_activation_first_and_the_dead_last() -> None:
    assert ids() == [2, 3, 5, 1, 0, 4]
    assert ids(rising=True) == [1, 3, 5, 2, 0, 4]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("feature", [5, 4, 3, 2, 1, 0]),
        ("n_active", [1, 3, 5, 2, 0, 4]),
        ("max_decoder_cosine", [1, 2, 5, 4, 3, 0]),
        ("label", [3, 0, 1, 2, 4, 5]),
    ],
)
def test_orders(sort: str, expected: list[int]) -> None:
    assert sort in SORTS and ids(sort=sort) == expected


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        ("living", {1, 2, 3, 5}),
        ("dead", {0, 4}),
        ("dense", {1}),
        ("rare", {2}),
        ("labelled", {3}),
        ("bookmarked", {1}),
        ("list to check", {1, 5}),
        ("list that is gone", set()),
    ],
)
def test_filters(show: str, expected: set[int]) -> None:
    assert show.startswith("list ") or show in SHOWN
    assert set(ids(show=show)) == expected


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("#3", {3}),
        ("3", {3}),
        ("5", {5, 2}),  # the number, and what stands in a text
        ("317", {3}),
        ("#99", set()),
        ("TRAIN", {1, 2, 3}),
        ("anna train", {1, 2}),
        ("cars and", {3}),
        ("  ", {0, 1, 2, 3, 4, 5}),
        ("²", set()),
    ],
)
def test_search(search: str, expected: set[int]) -> None:
    assert set(ids(search=search)) == expected


def test_labels_bookmarks_and_texts_stand_in_their_lines() -> None:
    table = listing(FEATURES, NOTES, LISTS, TEXTS, sort="feature", rising=True)
    assert table["label"].tolist() == ["", "", "", "Cars and Trains", "", ""]
    assert table["bookmark"].tolist() == [False, True, False, False, False, False]
    assert table["text"].tolist()[1:3] == ["Anna has 12 eggs", "Anna sells 5 trains"]
    assert "label" not in FEATURES  # what is shared stays as it was


def test_without_texts() -> None:
    assert listing(FEATURES, {}, {}, [], search="anna").empty


@pytest.mark.parametrize("choice", [{"show": "odd"}, {"sort": "beauty"}])
def test_unknown_choices_are_refused(choice: dict) -> None:
    with pytest.raises(UserError, match="can't be"):
        ids(**choice)


def test_neighbours() -> None:
    assert neighbours([4, 2, 7], 2) == (4, 7, 1)
    assert neighbours([4, 2, 7], 4) == (None, 2, 0)
    assert neighbours([4, 2, 7], 7) == (2, None, 2)
    assert neighbours([4, 2, 7], 5) == (None, 4, None)
    assert neighbours([], 5) == (None, None, None)


def test_the_label_that_features_go_with() -> None:
    goes_with = pd.DataFrame(
        {
            "label": ["", "uses addition", "uses division", "2 steps", "", "3 steps"],
            "heldout_f1": [np.nan, 0.4, 0.9, 0.7, np.nan, 0.8],
            "confirmed": [False, True, False, True, False, True],
        }
    )
    table = listing(FEATURES, NOTES, LISTS, TEXTS, goes_with=goes_with, sort="goes_with_f1")
    assert table["feature"].tolist() == [5, 3, 1, 0, 2, 4]  # what is not confirmed has none
    assert table["goes_with"].tolist()[:3] == ["3 steps", "2 steps", "uses addition"]
    assert table["goes_with"].isna().tolist()[3:] == [True] * 3 and table["goes_with_f1"].isna().sum() == 3
    assert set(listing(FEATURES, NOTES, LISTS, TEXTS, goes_with=goes_with, show="confirmed")["feature"]) == {1, 3, 5}
    assert listing(FEATURES, NOTES, LISTS, TEXTS, goes_with=goes_with, search="STEPS")["feature"].tolist() == [3, 5]
    assert ids(show="confirmed") == []


def test_other_seeds() -> None:
    again = pd.DataFrame(
        {"feature": [1, 2, 3, 5], "seeds": 4, "found": [4, 0, 2, 4], "median_similarity": [0.9, 0.3, 0.7, 0.95]}
    )
    assert set(ids(stability=again, show="stable")) == {1, 5} and ids(stability=again, show="unstable") == [2]
    assert ids(stability=again, sort="seed_cosine") == [5, 1, 3, 2, 0, 4]
    table = listing(FEATURES, NOTES, LISTS, TEXTS, stability=again, sort="feature", rising=True)
    assert table["found"].tolist()[1:4] == [4, 0, 2] and table["seed_cosine"].isna().tolist()[0]
    assert ids(show="stable") == ids(show="unstable") == []  # without other seeds nothing is known
