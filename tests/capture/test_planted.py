"""Planted concepts: the truth that is said is the truth of the rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sae.analysis.label_columns import labels_of
from sae.capture import Activations
from sae.capture.planted import Planting, plant, plant_activations
from sae.cli.main import main
from sae.common.errors import UserError

SMALL = Planting(rows=600, d_in=48, concepts=30, k=3, branches=5, terms=3, noise=0.0, seed=1)


def test_rows_are_sums_of_their_concepts() -> None:
    found = plant(SMALL)
    assert found.x.shape == (600, 48) and found.members.shape == (600, 3)
    strengths = np.linalg.lstsq(found.directions.T.astype(np.float64), found.x.T, rcond=None)[0].T
    active = np.abs(strengths) > 1e-3
    assert [np.flatnonzero(row).tolist() for row in active] == found.members.tolist()
    assert strengths[active].min() >= 0.5 - 1e-4 and strengths[active].max() <= 1.5 + 1e-4
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, atol=1e-6)
    # Concepts of one branch point more alike than others.
    cosine, alike = found.directions @ found.directions.T, found.branch_of[:, None] == found.branch_of
    apart = ~np.eye(30, dtype=bool)
    assert cosine[alike & apart].mean() > cosine[~alike].mean() + 0.1
    counts = np.bincount(found.members.reshape(-1), minlength=30)
    assert counts[:5].sum() > counts[-5:].sum() and counts.min() > 0
    noisy = plant(replace(SMALL, noise=0.3))
    assert (noisy.members == found.members).all()
    away = np.linalg.norm(noisy.x - found.x, axis=1) / np.linalg.norm(found.x, axis=1)
    assert away.mean() == pytest.approx(0.3, rel=0.1)


def test_activations_say_the_truth(tmp_path: Path) -> None:
    made = plant_activations(SMALL, tmp_path / "a", name="a")
    found = plant(Planting(**made.manifest["planted"]))
    np.testing.assert_array_equal(made.array, found.x)
    examples = made.examples
    said = [[int(name[1:]) for name in json.loads(cell)] for cell in examples["concepts"]]
    assert said == found.members.tolist()
    branches = [{int(name[1:]) for name in json.loads(cell)} for cell in examples["categories"]]
    assert branches == [set(found.branch_of[line].tolist()) for line in found.members]
    sides = made.rows.assign(group=examples["group"]).groupby("group")
    assert sides["split"].nunique().max() == 1 and sides.size().max() == 3
    assert examples.groupby("group")["concepts"].nunique().max() == 1
    assert {"concepts", "categories"} <= set(labels_of(examples).table.query("used")["family"])
    assert plant_activations(SMALL, tmp_path / "a", name="a").manifest == made.manifest
    with pytest.raises(UserError, match="there already, with other planted"):
        plant_activations(replace(SMALL, seed=2), tmp_path / "a", name="a")


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["activations", "planted", "--workspace", str(tmp_path), "--name", "p", "--rows", "50", "--d-in", "8"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["planted"]["rows"] == 50
    assert Activations.open(tmp_path / "activations" / "p").d_in == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "rows 0"),
        ({"k": 31}, "31 different concepts can't be drawn from 30"),
        ({"rows": 3}, "one group of 3"),
        ({"noise": -1.0}, "noise -1.0"),
        ({"noise": float("nan")}, "noise nan"),
        ({"d_in": -1}, "d-in -1"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        plant_activations(replace(SMALL, **changes), tmp_path / "a", name="a")
    assert not any(tmp_path.iterdir())
