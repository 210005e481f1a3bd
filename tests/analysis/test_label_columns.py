"""Labels of examples against what each example says, one at a time."""

import json

import numpy as np
import pandas as pd
import pytest

from sae.analysis.label_columns import labels_of, number_text, numbers_in


def steps(*values):
    return json.dumps([{"text": "", "expression": "", "operands": [], "operations": "+", "value": v} for v in values])


@pytest.fixture
def examples():
    n = 200
    return pd.DataFrame(
        {
            "question": [f"Ann has {5 if i % 2 else 7} eggs and ${i % 4},000.50." for i in range(n)],
            "operations": ["+*" if i % 4 == 0 else "/" if i % 4 == 1 else "" for i in range(n)],
            "n_steps": [i % 3 for i in range(n)],
            "steps": [steps(24.0 if i % 5 == 0 else 1000 + i, 3.5) for i in range(n)],
            "final_answer": [float(i) if i % 10 else 2.5 for i in range(n)],
            "correct": pd.array([None if i < 20 else i % 4 == 0 for i in range(n)], dtype="boolean"),
            "theme": ["shop" if i % 2 else None for i in range(n)],
            "names": [json.dumps(["Ann", "Ben"] if i % 2 else ["Ann"]) for i in range(n)],
            "unseen": [i % 2 == 0 for i in range(n)],
            "id": [f"x{i}" for i in range(n)],
            "weight": np.linspace(0, 1, n) ** 2,
            "group": "one",
        }
    )


def column(labels, name):
    (place,) = np.flatnonzero(labels.table["label"] == name)
    return labels.having[:, [place]].toarray().ravel().astype(bool)


def known(labels, name):
    (place,) = np.flatnonzero(labels.table["label"] == name)
    return labels.masks[labels.mask_of[place]]


def test_labels_are_what_each_example_says(examples):
    labels = labels_of(examples)
    i = np.arange(200)
    expected = {
        "uses addition": i % 4 == 0, "uses multiplication": i % 4 == 0, "uses division": i % 4 == 1,
        "first operation is addition": i % 4 == 0, "first operation is division": i % 4 == 1,
        "0 steps": i % 3 == 0, "1 step": i % 3 == 1, "2 steps": i % 3 == 2,
        "question has 5": i % 2 == 1, "question has 7": i % 2 == 0, "question has 3000.5": i % 4 == 3,
        "intermediate value 24": i % 5 == 0, "answer 2.5": i % 10 == 0,
        "odd answer": i % 2 == 1, "even answer": (i % 2 == 0) & (i % 10 > 0),
        "answered right": (i % 4 == 0) & (i >= 20), "answered wrong": (i % 4 > 0) & (i >= 20),
        "theme shop": i % 2 == 1, "names Ann": i >= 0, "names Ben": i % 2 == 1, "unseen yes": i % 2 == 0,
    }  # fmt: skip
    for name, having in expected.items():
        assert np.array_equal(column(labels, name), having), name
    assert known(labels, "uses addition").all()
    assert np.array_equal(known(labels, "first operation is addition"), i % 4 < 2)
    assert np.array_equal(known(labels, "odd answer"), i % 10 > 0)
    assert np.array_equal(known(labels, "answered wrong"), i >= 20)
    assert np.array_equal(known(labels, "theme shop"), i % 2 == 1)
    assert not labels.table["label"].str.startswith(("id ", "group ")).any()


def test_the_table_counts_and_says_why_a_label_is_left_out(examples):
    table = labels_of(examples).table.set_index("label")
    assert table.loc["answered wrong", ["n", "n_with"]].tolist() == [180, 135]
    assert table.loc["answered wrong", "base_rate"] == pytest.approx(0.75)
    assert table.loc["uses division", "used"]
    assert "over 95 %".replace(" ", "") in table.loc["names Ann", "reason"].replace(" ", "")
    assert "over" in table.loc["theme shop", "reason"]  # known only where it is so
    assert table.loc["answer 7", "reason"] == "fewer than 20 examples"
    assert not table.loc["answer 7", "used"]
    assert table.loc["0 steps", "exclusive"] and table.loc["odd answer", "exclusive"]
    assert not table.loc["uses addition", "exclusive"] and not table.loc["names Ben", "exclusive"]
    assert ((table["reason"] == "") == table["used"]).all()


def test_rare_labels_and_columns_of_many_values_are_left_out():
    n = 3000
    examples = pd.DataFrame({"kind": ["rare" if i < 25 else "common" for i in range(n)], "weight": np.arange(n) / 7})
    table = labels_of(examples).table.set_index("label")
    assert "under 1" in table.loc["kind rare", "reason"] and "over 95" in table.loc["kind common", "reason"]
    assert "3,000 different values" in table.loc["weight", "reason"]


def test_examples_without_rows_have_no_labels(examples):
    present = np.arange(200) < 150
    labels = labels_of(examples, present)
    assert not labels.having[150:].nnz
    assert labels.table.set_index("label").loc["uses division", "n"] == 150
    assert not labels.masks[:, 150:].any()


def test_examples_that_say_nothing():
    labels = labels_of(pd.DataFrame({"question": ["how many?", "why?"]}))
    assert labels.n_used == 0 and labels.having.shape == (2, 0)
    assert labels_of(pd.DataFrame(index=range(3))).n_used == 0


def test_odd_cells_are_read_or_passed_over():
    examples = pd.DataFrame(
        {
            "operations": [["+", "-"], None, "*"],
            "steps": ["no json", None, steps(float("inf"), 1)],
            "final_answer": [float("inf"), float("nan"), 4],
            "n_steps": ["many", 2, None],
            "tags": [["a", "b"], "[broken", float("inf")],
        }
    )
    found = set(labels_of(examples).table["label"])
    assert {"uses addition", "uses subtraction", "uses multiplication", "answer 4", "even answer"} <= found
    assert {"many steps", "2 steps", "tags a", "tags b", "tags [broken", "tags inf"} <= found
    assert not any(label.startswith("intermediate") for label in found)


def test_numbers_of_a_text():
    assert numbers_in("3 boxes of 1,080, $2.50 each; 20% of 12,345,678.") == {"3", "1080", "2.5", "20", "12345678"}
    assert numbers_in("x2 and 1,2,3rd") == {"1", "2", "3"}
    assert numbers_in("9" * 400) == set()
    assert [number_text(v) for v in (12.0, 2.5, -3.0, 1 / 3)] == ["12", "2.5", "-3", "0.3333333333"]
