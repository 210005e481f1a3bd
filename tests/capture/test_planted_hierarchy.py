"""A planted hierarchy: the truth that is said is the truth of the rows, and no child is without its parent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sae.capture import Activations
from sae.capture.planted_hierarchy import Hierarchy, plant_hierarchy, plant_hierarchy_activations
from sae.cli.main import main
from sae.common.errors import UserError

SMALL = Hierarchy(rows=900, d_in=40, concepts=16, parents=4, children=3, k=3, noise=0.0, terms=3, seed=1)


@pytest.mark.parametrize("superposition", [False, True])
def test_rows_are_sums_of_what_is_said(superposition: bool) -> None:
    found = plant_hierarchy(replace(SMALL, superposition=superposition))
    named = found.named_directions()
    directions = np.array(list(named.values()), np.float64)
    assert len(named) == 16 + 4 * 3
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    across = np.abs(directions @ directions.T - np.eye(len(directions))).max()
    assert (across > 0.2) if superposition else (across < 1e-6)
    strengths = np.linalg.lstsq(directions.T, found.x.T.astype(np.float64), rcond=None)[0].T
    active = np.abs(strengths) > 1e-3
    assert strengths[active].min() > 0.499 and strengths[active].max() < 1.501
    words = np.array(list(named), object)
    for row in range(len(found.x)):
        expected = {f"c{member}" for member in found.members[row]}
        expected |= {f"c{m}.{c}" for m, c in zip(found.members[row], found.child[row], strict=True) if c >= 0}
        assert set(words[active[row]]) == expected
    # A child stands beside a parent alone, about half of the time, and the first one most often.
    is_parent = np.isin(found.members, found.parents)
    assert not (found.child[~is_parent] >= 0).any()
    assert (found.child[is_parent] >= 0).mean() == pytest.approx(0.5, abs=0.1)
    counts = np.bincount(found.child[found.child >= 0], minlength=3)
    assert counts[0] > counts[2] > 0
    uses = np.bincount(found.members.reshape(-1), minlength=16)
    assert uses[:4].sum() > uses[-4:].sum()


def test_activations_say_the_truth(tmp_path: Path) -> None:
    made = plant_hierarchy_activations(SMALL, tmp_path / "a", name="a")
    found = plant_hierarchy(Hierarchy(**made.manifest["planted_hierarchy"]))
    np.testing.assert_array_equal(made.array, found.x)
    for concepts, children in zip(made.examples["concepts"], made.examples["children"], strict=True):
        assert {child.split(".")[0] for child in json.loads(children)} <= set(json.loads(concepts))
    sides = made.rows.assign(group=made.examples["group"]).groupby("group")
    assert sides["split"].nunique().max() == 1 and sides.size().max() == 3
    assert plant_hierarchy_activations(SMALL, tmp_path / "a", name="a").manifest == made.manifest
    with pytest.raises(UserError, match="there already"):
        plant_hierarchy_activations(replace(SMALL, seed=2), tmp_path / "a", name="a")


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["activations", "planted", "--workspace", str(tmp_path), "--name", "p", "--rows", "50", "--json"]
    assert main([*words, "--hierarchy", "2", "--children", "3", "--concepts", "6"]) == 0
    planted = json.loads(capsys.readouterr().out)["planted_hierarchy"]
    assert (planted["parents"], planted["children"], planted["concepts"]) == (2, 3, 6)
    assert Activations.open(tmp_path / "activations" / "p").n_rows == 50
    assert main([*words[:-2], "50", "--children", "3"]) == 2
    assert "--children is for --hierarchy N" in capsys.readouterr().err
    assert main([*words[:-2], "50", "--hierarchy", "2", "--branches", "3"]) == 2
    assert "--branches is not for --hierarchy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "rows 0"),
        ({"parents": 17}, "parents 17 must not be more than the 16 concepts"),
        ({"k": 17}, "k 17 must not be more"),
        ({"child_rate": 1.0}, "child-rate 1.0"),
        ({"children": 30}, "can't be at right angles in 40 dimensions"),
        ({"noise": -1.0}, "noise -1.0"),
        ({"rows": 3}, "one group of 3"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        plant_hierarchy_activations(replace(SMALL, **changes), tmp_path / "a", name="a")
    assert not any(tmp_path.iterdir())
