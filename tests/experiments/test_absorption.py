"""The measurement of absorption, on a planted hierarchy with an SAE made of the planted directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sae.analysis.codes import FeatureActivations
from sae.capture.planted_hierarchy import Hierarchy, plant_hierarchy, plant_hierarchy_activations
from sae.common.errors import UserError
from sae.common.files import write_parquet
from sae.common.progress import Silent
from sae.experiments import MEASUREMENTS
from sae.experiments.measurement import Case
from sae.models import build

NO_MODEL: Any = None

PLANTED = Hierarchy(rows=3000, d_in=24, concepts=10, parents=3, children=2, k=3, noise=0.0)


def case_of(folder: Path, absorbed: bool) -> tuple[Case, pd.DataFrame]:
    """An SAE whose latents are the planted directions; `absorbed`: c0's latent is off where its child c0.0 is on, and
    that child's decoder row holds both directions."""
    activations = plant_hierarchy_activations(PLANTED, folder, name=folder.name)
    named = plant_hierarchy(PLANTED).named_directions()
    words = list(named)
    directions = np.array(list(named.values()), np.float64)
    act = np.linalg.lstsq(directions.T, np.asarray(activations.array, np.float64).T, rcond=None)[0].T
    act[np.abs(act) < 1e-4] = 0
    rows = directions.copy()
    if absorbed:
        child = words.index("c0.0")
        on = act[:, child] > 0
        act[on, 0] = 0
        rows[child] = (directions[child] + directions[0]) / np.sqrt(2)
    model = build("topk", d_in=rows.shape[1], d_sae=len(rows), k=1)
    with torch.no_grad():
        model.W_dec.copy_(torch.tensor(rows))
    codes = FeatureActivations.from_dense(act.astype(np.float32))
    case = Case("run", {}, model, codes, activations.slice(), activations, NO_MODEL, "cpu")
    return case, pd.DataFrame(act != 0, columns=words)


def measured(case: Case, **settings: Any) -> Any:
    kind = MEASUREMENTS["absorption"]
    return kind.of(case, kind.settings_of(settings), Silent())


def test_a_perfect_sae_absorbs_nothing(tmp_path: Path) -> None:
    case, on = case_of(tmp_path / "planted", absorbed=False)
    found = measured(case, draws=50)
    (result,) = found.results
    metrics = result["metrics"]
    assert metrics["absorption_rate"] == metrics["mean_full_absorption_score"] == metrics["off_rate_alone"] == 0
    assert metrics["mean_absorption_fraction_score"] == 0 and metrics["mean_num_split_features"] == 1
    assert metrics["parents"] == 3 and metrics["pairs"] == 6 and metrics["mean_parent_f1"] == 1
    assert found.notes["directions"] == "known"
    pairs = found.tables["pairs"]
    assert (pairs["child"].str.removeprefix("children ").str.split(".").str[0] == pairs["parent"].str[9:]).all()
    assert result["interval"]["absorption_rate"] == (0, 0)


def test_what_was_absorbed_is_found(tmp_path: Path) -> None:
    case, on = case_of(tmp_path / "planted", absorbed=True)
    found = measured(case, draws=200)
    line = found.tables["parents"].set_index("parent").loc["concepts c0"]
    pairs = found.tables["pairs"].set_index("child")["absorption_rate"]
    assert pairs["children c0.0"] == 1 and pairs["children c0.1"] == 0
    assert line["off_rate_alone"] == 0 and line["absorption_rate_low"] <= line["absorption_rate"]
    share = found.tables["pairs"].set_index("child")["n"]
    expected = share["children c0.0"] / (share["children c0.0"] + share["children c0.1"])
    assert line["absorption_rate"] == pytest.approx(expected)
    low, high = found.results[0]["interval"]["absorption_rate"]
    assert found.results[0]["metrics"]["absorption_rate"] == pytest.approx(expected / 3)
    assert low < expected / 3 < high
    others = found.tables["parents"].query("parent != 'concepts c0'")
    assert (others["absorption_rate"] == 0).all()
    assert found.notes["saebench_details"][0]["first_letter"] == "concepts c0"


def test_an_ontologys_ancestors_are_a_hierarchy(tmp_path: Path) -> None:
    case, on = case_of(tmp_path / "planted", absorbed=True)
    folder = tmp_path / "planted"
    examples = pd.read_parquet(folder / "examples.parquet")
    both = [
        json.dumps(json.loads(a) + json.loads(b))
        for a, b in zip(examples["concepts"], examples["children"], strict=True)
    ]
    write_parquet(folder / "examples.parquet", examples.drop(columns=["concepts", "children"]).assign(ancestors=both))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("planted_hierarchy")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    activations = type(case.activations).open(folder)
    other = Case("run", {}, case.model, case.codes, activations.slice(), activations, NO_MODEL, "cpu")
    found = measured(other, labels="ancestors", draws=20)
    assert found.notes["directions"] == "probes on the activations"
    line = found.tables["parents"].set_index("parent").loc["ancestors c0"]
    assert line["n_children"] == 2 and 0.3 < line["absorption_rate"] < 0.8
    assert line["direction"] == "probe" and line["full_absorption_rate"] > 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "concepts"}, "no label of these examples is a kind of another"),
        ({"labels": "nothing"}, "no column 'nothing'"),
        ({"draws": 0}, "draws 0 must be at least 1"),
    ],
)
def test_what_can_not_be_measured(tmp_path: Path, settings: dict, message: str) -> None:
    case, _ = case_of(tmp_path / "planted", absorbed=False)
    with pytest.raises(UserError, match=message):
        measured(case, **settings)
