"""What the Thoughts page is drawn from: words, filters, the best slice, and what its component is given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sae.figures.tokens import Chip, Example, colour, strip_data
from sae.ui import example_filters, thought_data
from sae.ui.thought_chips import Firing, StepShown, steps_data
from sae.ui.thought_words import (
    position_text,
    read_thoughts,
    slice_text,
    step_text,
    supervised,
    verdict,
    word_text,
    words_text,
)


def test_steps_in_both_conventions():
    assert [position_text(step, "seed") for step in (0, 1, 6)] == ["0", "1", "6"]
    assert [position_text(step, "latent") for step in (0, 1, 6)] == ["–", "0", "5"]
    assert step_text(0, "latent") == "BOT" and step_text(3, "latent") == "position 2 (z3)"
    assert slice_text(2, 3, "seed") == "layer 2, position 3 (z3)"


def test_words_that_can_not_be_seen():
    assert [word_text(word) for word in (" the", "\n", "  ", "", "24")] == ["the", "↵", "␣␣", "␣", "24"]
    assert words_text([("24", 0.71), ("\n", 0.004)]) == "24 at 71.0 %, ↵ at 0.4 %"
    assert read_thoughts('[[["a", 0.5]], []]') == [[("a", 0.5)], []]
    assert read_thoughts(None) == read_thoughts(float("nan")) == read_thoughts("{not json") == []


def test_what_must_be_said_of_a_model():
    assert "training target" in supervised({"model": {"kind": "supervised"}})
    assert supervised({"model": {"kind": "pure"}}) == supervised({"model": None}) == ""


@pytest.mark.parametrize(
    ("value", "said"), [(True, "right"), (np.False_, "wrong"), (None, ""), (float("nan"), ""), (pd.NA, "")]
)
def test_right_or_wrong(value, said):
    assert verdict(pd.Series({"correct": value}, dtype=object)) == said


def test_filters():
    examples = pd.DataFrame(
        {"correct": [True, False, None, False], "n_steps": [1, 2, 2, 3], "operations": ["+", "*+", "+*", None]}
    )
    assert example_filters.chosen(examples).all()
    assert example_filters.chosen(examples, "wrong").tolist() == [False, True, False, True]
    assert example_filters.chosen(examples, "right").tolist() == [True, False, False, False]
    assert example_filters.chosen(examples, steps="2", operation="*").tolist() == [False, True, True, False]
    assert example_filters.known(examples).anything
    assert not example_filters.known(pd.DataFrame({"question": ["?"]})).anything


def test_a_near_constant_slice_never_wins():
    table = pd.DataFrame(
        {"layer": [0, 0, 1, 1], "position": [0, 1, 1, 1], "near_constant": [True, False, False, False],
         "ev_total": [0.999, 0.6, 0.9, 0.5], "dead": [0.99, 0.1, 0.3, 0.5], "mean_activation": [1.0, 2, 3, 4]}
    )  # fmt: skip
    assert thought_data.best_slice(table, "ev_total") == (1, 1, pytest.approx(0.7))  # the mean of two runs
    assert thought_data.best_slice(table, "dead") == (0, 1, 0.1)
    assert thought_data.best_slice(table, "mean_activation") is None
    assert thought_data.best_slice(table[:1], "ev_total") is None
    assert thought_data.constant_places(table) == {(0, 0)}


def test_one_run_a_step():
    table = pd.DataFrame(
        {"run": ["a", "b", "c", "d", "e"], "state": ["done", "done", "running", "done", "done"],
         "layer": [1, 1, 1, 2, 1], "position": [0, 0, 1, 1, 2], "k": [5, 5, 5, 5, 9], "seed": [0, 1, 0, 0, 0]}
    )  # fmt: skip
    assert thought_data.runs_at(table, 1, {"k": 5}) == {0: "a"}
    assert thought_data.runs_at(table, 1, {"k": 9, "seed": None}) == {2: "e"}


def test_problems_by_words():
    examples = pd.DataFrame({"question": ["Ann has (3) eggs", "Ben has eggs", "Ann sells"]})
    every = np.ones(3, bool)
    assert thought_data.fitting(examples, every, "EGGS ann").tolist() == [0]
    assert thought_data.fitting(examples, every, "(3)").tolist() == [0]
    assert thought_data.fitting(examples, np.array([False, True, True])).tolist() == [1, 2]


def test_what_the_steps_component_is_given():
    firing = [Firing("r/1", 1317, -2.0, 4.0, "<b>sum</b>"), Firing("r/1", 2, 4.0, 4.0)]
    step = StepShown("z3", "3", [("24", 0.714), ("\n", 0.1)], firing, more=5)
    (given,) = steps_data([step], "dark", "my grid")["steps"]
    assert given["title"] == "7 features, strongest 2"
    assert [(word["word"], word["share"]) for word in given["words"]] == [("24", "71.4 %"), ("↵", "10.0 %")]
    first = given["features"][0]
    assert first["name"] == "1,317 <b>sum</b>" and first["value"] == "-2"
    assert first["shade"] == colour(-2.0, 4.0, "dark")
    assert first["href"] == "features?experiment=my+grid&run=r%2F1&feature=1317"
    (empty,) = steps_data([StepShown("BOT", "–", [])])["steps"]
    assert empty["features"] is None and empty["said"] == "BOT" and empty["title"] is None


def test_an_example_with_chips():
    chips = [Chip("BOT", "3", 0.5, "BOT reads as 3"), Chip("z1", "", None, here=True)]
    example = Example(
        "Example 1", [("text", 0.0)], 2.0, chips=chips, lines=[("Reference steps", "1+2 = 3")], href="t?e=1"
    )
    (given,) = strip_data([example], maximum=2.0, theme="light")["examples"]
    assert [(chip["name"], chip["share"], chip["here"]) for chip in given["chips"]] == [
        ("BOT", "50 %", False), ("z1", "", True)
    ]  # fmt: skip
    assert given["lines"] == [["Reference steps", "1+2 = 3"]] and given["href"] == "t?e=1"
    assert given["shade"] == colour(2.0, 2.0)
