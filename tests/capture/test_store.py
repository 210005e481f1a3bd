"""Opening activations: what fits together opens, what doesn't is one line; slices, splits, lists of layers, answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from sae.capture import Activations, import_activations, list_slices, parse_layers
from sae.capture.answers import is_right, last_number, reference_answers
from sae.capture.splits import split_examples
from sae.common.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four slices: two layers, two positions, of five examples."""
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float16)
    folder = tmp_path / "a"
    folder.mkdir()
    np.save(folder / "activations.npy", x)
    rows = [
        {"example": e, "split": "validation" if e == 4 else "train", "layer": layer, "position": position}
        for layer in (3, 7)
        for position in (0, 1)
        for e in range(5)
    ]
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    pd.DataFrame({"question": list("abcde"), "answer": list("12345")}).to_parquet(folder / "examples.parquet")
    slices = [
        {"layer": layer, "position": position, "start": 5 * i, "stop": 5 * i + 5}
        for i, (layer, position) in enumerate(((3, 0), (3, 1), (7, 0), (7, 1)))
    ]
    manifest = {
        "format": 1,
        "n_rows": 20,
        "d_in": 6,
        "n_examples": 5,
        "dtype": "float16",
        "slices": slices,
        "text": None,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _change(folder: Path, **change: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))


def test_slices(folder: Path) -> None:
    there = Activations.open(folder)
    assert (there.name, there.n_rows, there.d_in, len(there.slices)) == ("a", 20, 6, 4)
    piece = there.slice(7, 0)
    assert (piece.title, piece.key, piece.start) == ("layer 7, position 0", "L7P0", 10)
    np.testing.assert_array_equal(piece.x, np.load(folder / "activations.npy")[10:15])
    assert piece.rows.index.tolist() == list(range(5)) and piece.validation_rows.tolist() == [4]
    assert piece.train_rows.tolist() == [0, 1, 2, 3] and len(piece.test_rows) == 0
    with pytest.raises(ValueError):
        piece.x[0, 0] = 1
    with pytest.raises(UserError, match="no layer 5: choose one of layer 3, position 0; "):
        there.slice(layer=5)
    with pytest.raises(UserError, match="4 slices"):
        there.slice()
    assert list_slices(folder)[3] == {
        "layer": 7,
        "position": 1,
        "title": "layer 7, position 1",
        "key": "L7P1",
        "n_rows": 5,
    }
    assert there.text(2) == "c"
    _change(folder, text="question+answer")
    assert Activations.open(folder).text(2) == "c\n3"


def test_what_does_not_fit_together(folder: Path) -> None:
    cut = [{"layer": 3, "position": 0, "start": 0, "stop": 20}]
    for change, message in (
        ({"format": 2}, "format 1"),
        ({"n_rows": 21}, "its manifest says"),
        ({"n_rows": "20"}, "whole number"),
        ({"n_examples": 6}, "examples.parquet has 5 lines"),
        ({"dtype": "float32"}, "holds float16"),
        ({"slices": []}, "don't cover"),
        ({"slices": None}, "don't cover"),
        ({"slices": cut * 2}, "don't cover"),
        ({"slices": [{**cut[0], "stop": 19}]}, "don't cover"),
        ({"slices": [{"layer": 3}]}, "don't cover"),
    ):
        whole = (folder / "manifest.json").read_text()
        _change(folder, **change)
        with pytest.raises(UserError, match=message):
            Activations.open(folder)
        (folder / "manifest.json").write_text(whole)
    Activations.open(folder)


@pytest.mark.parametrize("name", ["manifest.json", "activations.npy", "rows.parquet", "examples.parquet"])
def test_missing_and_damaged_files(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", None):
        if damaged is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(damaged)
        with pytest.raises(UserError):
            Activations.open(folder)


def test_rows_of_another_capture(folder: Path) -> None:
    pd.DataFrame({"example": range(20)}).to_parquet(folder / "rows.parquet")
    with pytest.raises(UserError, match="no column 'split'"):
        Activations.open(folder)
    pd.DataFrame({"example": range(19), "split": "train"}).to_parquet(folder / "rows.parquet")
    with pytest.raises(UserError, match="19 lines"):
        Activations.open(folder)


def test_a_copied_folder_opens_elsewhere(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(8, dtype=np.float32))
    made = import_activations(tmp_path / "x.npy", tmp_path / "first", name="first")
    shutil.copytree(made.folder, tmp_path / "second")
    copied = Activations.open(tmp_path / "second")
    assert copied.name == "second"
    np.testing.assert_array_equal(copied.array, np.eye(8))


def test_the_split_of_the_report() -> None:
    split, how = split_examples(pd.DataFrame({"question": ["?"] * 7473}))
    train, held = train_test_split(np.arange(7473), test_size=0.2, random_state=42)
    assert how["counts"] == {"train": 5978, "validation": 1495}
    assert np.flatnonzero(split == "train").tolist() == sorted(train)
    assert np.flatnonzero(split == "validation").tolist() == sorted(held)


@pytest.mark.parametrize("seed", range(5))
def test_groups_never_stand_on_both_sides(seed: int) -> None:
    groups = np.random.default_rng(seed).integers(0, 30, 200).astype(float)
    groups[:20] = np.nan
    split, how = split_examples(pd.DataFrame({"group": groups}))
    sides = {name: set(groups[split == name][~np.isnan(groups[split == name])]) for name in ("train", "validation")}
    assert not sides["train"] & sides["validation"] and how["method"] == "group"
    # A fifth of the 30 groups and 20 loners; examples follow roughly.
    n_held = len(sides["validation"]) + int(((split == "validation") & np.isnan(groups)).sum())
    assert n_held == 10
    again, _ = split_examples(pd.DataFrame({"group": groups}))
    assert (again == split).all()


def test_given_splits() -> None:
    given = ["train"] * 10 + ["validation"] * 2 + ["test"] * 3
    split, how = split_examples(pd.DataFrame({"split": given}))
    assert split.tolist() == given and how["method"] == "given"
    split, how = split_examples(pd.DataFrame({"split": ["train"] * 100 + ["test"] * 20}))
    assert how["counts"] == {"train": 80, "validation": 20, "test": 20}
    assert set(split[100:]) == {"test"}
    assert split_examples(pd.DataFrame({"question": ["one"]}))[0].tolist() == ["train"]
    with pytest.raises(UserError, match="example 1 has split 'dev'"):
        split_examples(pd.DataFrame({"split": ["train", "dev"]}))


def test_lists_of_layers() -> None:
    assert parse_layers("9") == [9]
    assert parse_layers("14, 0,9,0") == [0, 9, 14]
    assert parse_layers("0-3,9") == [0, 1, 2, 3, 9]
    for text in ("", "a", "1,", "-1", "1.5", "1;2", "1-", "99999"):
        with pytest.raises(UserError, match="can't be read"):
            parse_layers(text)
    with pytest.raises(UserError, match="backwards"):
        parse_layers("5-2")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 1,080 apples.", 1080),
        ("so 3 + 4 = 7.", 7),
        ("#### -5\nand 3 more", -5),
        ("The answer is: $12.50, not 3", 12.5),
        ("10-5", 5),
        ("10 - 5", 5),
        ("it is -5", -5),
        ("it is -$5", -5),
        ("x=-.5", -0.5),
        ("12 % of 50", 50),
        ("1,2,3", 3),
        ("The answer is **42**", 42),
        ("The answer is unknown: 3 or 4", 3),
        ("7, so the answer is clear", 7),
        ("no number", None),
        ("", None),
        ("9" * 400, None),
    ],
)
def test_the_number_of_an_answer(text: str, number: float | None) -> None:
    assert last_number(text) == number


def test_right_or_wrong() -> None:
    assert is_right(0.1 + 0.2, 0.3) and is_right(5.0, 5) and is_right(0.0, 0)
    assert not is_right(None, 0) and not is_right(5.01, 5) and not is_right(-5, 5)
    table = pd.DataFrame({"final_answer": [3.0, None], "answer": ["#### 9", "#### 1,000"]})
    assert reference_answers(table) == [3.0, 1000.0]
