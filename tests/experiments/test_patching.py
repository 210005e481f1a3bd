"""Patching as a measurement, on thoughts of a tiny model: against patches made by hand, and what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.common.progress import Silent
from sae.evaluation.patching import CleanBatch, Site
from sae.experiments.measurement import Case, Measured
from sae.experiments.patching import CONDITIONS, PATCHING, measure
from sae.language_models.codi.model import Codi
from sae.models.topk import TopK
from sae.workspace import Workspace
from tests.workspace import thoughts

LAYER, STEP = 0, 2
SETTINGS = PATCHING.settings_of({"min_active": 4, "resamples": 200, "features": 6})


def thinking_codi(folder: Path) -> Codi:
    """A tiny CODI model to whose answers a thought matters."""
    made = thoughts.tiny_codi(folder)
    with torch.no_grad():
        for weight in made.language_model.base_model.layers.parameters():
            if weight.ndim > 1:
                weight.mul_(4)
        made.projection.get_parameter("ln.weight").fill_(0.6)
    return made


@pytest.fixture(scope="module")
def codi(tmp_path_factory: pytest.TempPathFactory) -> Codi:
    return thinking_codi(tmp_path_factory.mktemp("codi") / "tiny-codi")


@pytest.fixture(scope="module")
def captured(codi: Codi, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the thoughts of all problems stand, once for all tests."""
    root = tmp_path_factory.mktemp("captured") / "workspace"
    thoughts.put_thoughts(Workspace(root), codi, dtype="float32")
    return root


@pytest.fixture
def workspace_of_thoughts(captured: Path, tmp_path: Path) -> Workspace:
    """A copy, for tests that change it."""
    return Workspace(shutil.copytree(captured, tmp_path / "workspace"))


def sae(d_sae: int = 24, k: int = 3) -> TopK:
    torch.manual_seed(0)
    model = TopK(thoughts.WIDTH, d_sae, k, "magnitude")
    with torch.no_grad():
        model.W_dec.copy_(torch.nn.functional.normalize(torch.randn(d_sae, thoughts.WIDTH), dim=1))
        model.W_enc.copy_(model.W_dec.T)
    return model.eval().requires_grad_(False)


def exact() -> TopK:
    """Its features are the dimensions, all of them active: the reconstruction is the state."""
    model = TopK(thoughts.WIDTH, thoughts.WIDTH, thoughts.WIDTH, "magnitude")
    with torch.no_grad():
        model.W_dec.copy_(torch.eye(thoughts.WIDTH))
        model.W_enc.copy_(torch.eye(thoughts.WIDTH))
    return model.eval().requires_grad_(False)


def case_of(workspace: Workspace, codi: Codi, model: TopK, layer: int = LAYER, step: int = STEP) -> Case:
    activations = workspace.open_activations("thoughts")
    piece = activations.slice(layer, step)
    codes = FeatureActivations.from_dense(model.encode(torch.from_numpy(np.array(piece.x, np.float32))).numpy())
    return Case("run", {}, model, codes, piece, activations, lambda: codi, "cpu")


def problems_of(case: Case, codi: Codi) -> tuple[np.ndarray, CleanBatch]:
    """The validation problems in the order of the table, as one batch."""
    examples = case.slice.rows["example"].to_numpy()[case.slice.validation_rows]
    ids = codi.encode(list(case.activations.examples["question"].iloc[examples]))
    return examples, CleanBatch(codi, ids, Site(case.slice.layer or 0, case.slice.position or 0))


def test_every_condition_is_what_patching_by_hand_gives(workspace_of_thoughts: Workspace, codi: Codi) -> None:
    case = case_of(workspace_of_thoughts, codi, sae())
    found = measure(case, SETTINGS, Silent())
    table = found.tables["problems"].set_index("example")
    train = np.array(case.slice.x[case.slice.train_rows], np.float64)
    axes = np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:3]
    with torch.inference_mode():
        examples, batch = problems_of(case, codi)
        h = batch.state.numpy().astype(np.float64)
        by_hand = {
            "sae": case.model(batch.state).numpy(),
            "pca": train.mean(0) + (h - train.mean(0)) @ axes.T @ axes,
            "mean": np.tile(train.mean(0), (len(h), 1)),
            "zero": np.zeros_like(h),
        }
        for name, state in by_hand.items():
            effect = batch.patched(torch.from_numpy(state.astype(np.float32)))
            line = table.loc[examples]
            np.testing.assert_allclose(line[f"kl_{name}"], effect.kl, rtol=2e-2, atol=1e-6)
            np.testing.assert_array_equal(line[f"answer_{name}"], effect.numbers)
    np.testing.assert_array_equal(table.loc[examples, "clean"], batch.numbers)
    (result,) = found.results
    assert (result["split"], result["n"]) == ("validation", 18)
    assert result["metrics"]["kl"] == pytest.approx(table["kl_sae"].mean())
    assert result["metrics"]["kl_zero"] == pytest.approx(table["kl_zero"].mean())
    changed = ~(table["answer_sae"].eq(table["clean"]) | (table["answer_sae"].isna() & table["clean"].isna()))
    assert result["metrics"]["flipped"] == pytest.approx(changed.mean())
    assert result["metrics"]["kl_recovered"] == pytest.approx(1 - table["kl_sae"].mean() / table["kl_mean"].mean())
    assert set(result["metrics"]) == set(result["interval"])
    assert table["kl_mean"].mean() > 1e-5
    assert found.notes["components"] == 3 and found.notes["is_read"]
    assert list(found.tables["conditions"]["condition"]) == list(CONDITIONS)


def test_an_exact_reconstruction_changes_nothing(workspace_of_thoughts: Workspace, codi: Codi) -> None:
    (result,) = measure(case_of(workspace_of_thoughts, codi, exact()), SETTINGS, Silent()).results
    metrics = result["metrics"]
    assert abs(metrics["kl"]) < 1e-6 and metrics["flipped"] == 0
    assert metrics["accuracy_patched"] == metrics["accuracy_clean"]
    assert metrics["kl_recovered"] == pytest.approx(1, abs=1e-2)
    assert abs(metrics["kl_random"]) < 1e-6  # no error to be as long as


def test_a_feature_that_is_switched_off(workspace_of_thoughts: Workspace, codi: Codi) -> None:
    """Of the exact reconstruction, a feature is a dimension: switched off, that dimension is 0."""
    case = case_of(workspace_of_thoughts, codi, exact())
    features = measure(case, SETTINGS, Silent()).tables["features"]
    assert features["feature"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (features["n"] == 18).all()
    with torch.inference_mode():
        _, batch = problems_of(case, codi)
        for line in features.to_dict("records"):
            state = batch.state.clone()
            state[:, line["feature"]] = 0
            effect = batch.patched(state)
            assert line["kl"] == pytest.approx(effect.kl.mean(), rel=2e-2, abs=1e-6)
            same = (effect.numbers == batch.numbers) | (np.isnan(effect.numbers) & np.isnan(batch.numbers))
            assert line["flipped"] == pytest.approx(1 - same.mean())


def test_features_are_switched_off_where_they_are_active(workspace_of_thoughts: Workspace, codi: Codi) -> None:
    case = case_of(workspace_of_thoughts, codi, sae())
    features = measure(case, SETTINGS, Silent()).tables["features"]
    active = np.zeros((24, 90), bool)
    for feature in range(24):
        active[feature, case.codes.feature(feature)[0]] = True
    n = active[:, case.slice.validation_rows].sum(axis=1)
    frequent = sorted((j for j in range(24) if n[j] >= 4), key=lambda j: -n[j])[:6]
    assert features["feature"].tolist() == frequent
    assert features["n"].tolist() == [n[j] for j in frequent]
    none = measure(case, {**SETTINGS, "features": 0}, Silent()).tables["features"]
    assert len(none) == 0 and "kl_low" in none


def test_the_test_split_is_taken_where_there_is_one(workspace_of_thoughts: Workspace, codi: Codi) -> None:
    folder = workspace_of_thoughts.activations_folder("thoughts")
    rows = pd.read_parquet(folder / "rows.parquet")
    rows.loc[rows["example"] % 5 == 3, "split"] = "test"
    rows.to_parquet(folder / "rows.parquet", index=False)
    case = case_of(workspace_of_thoughts, codi, sae())
    found = measure(case, {**SETTINGS, "problems": 7, "features": 0}, Silent())
    assert (found.results[0]["split"], found.results[0]["n"]) == ("test", 7)
    assert (found.tables["problems"]["example"] % 5 == 3).all()
    again = measure(case, {**SETTINGS, "problems": 7, "features": 0}, Silent())
    pd.testing.assert_frame_equal(found.tables["problems"], again.tables["problems"])


def test_states_from_behind_the_final_norm_are_patched_there(workspace_of_thoughts: Workspace, codi: Codi) -> None:
    folder = workspace_of_thoughts.activations_folder("thoughts")
    manifest = read_json(folder / "manifest.json")
    manifest["spec"]["final_norm"] = "after"
    write_json(folder / "manifest.json", manifest)
    layer = thoughts.LAYERS - 1
    with pytest.raises(UserError, match="differ from those stored"):
        _measured(workspace_of_thoughts, codi, layer)
    array = np.load(folder / "activations.npy")
    place = next(s for s in manifest["slices"] if (s["layer"], s["position"]) == (layer, STEP))
    with torch.inference_mode():
        before = torch.from_numpy(array[place["start"] : place["stop"]])
        array[place["start"] : place["stop"]] = codi.final_norm(before).numpy()
    np.save(folder / "activations.npy", array)
    found = _measured(workspace_of_thoughts, codi, layer)
    assert found.notes["after_final_norm"]
    assert found.results[0]["metrics"]["kl_zero"] > 0


def test_what_nothing_reads_is_named(workspace_of_thoughts: Workspace, codi: Codi) -> None:
    case = case_of(workspace_of_thoughts, codi, sae(), thoughts.LAYERS - 1, 6)
    found = measure(case, SETTINGS, Silent())
    assert found.notes["is_read"] is False
    assert found.results[0]["metrics"]["kl_zero"] == pytest.approx(0, abs=1e-6)


def test_what_is_refused(workspace_of_thoughts: Workspace, codi: Codi, tmp_path: Path) -> None:
    case = case_of(workspace_of_thoughts, codi, sae())
    other = thoughts.tiny_codi(tmp_path / "other")
    with pytest.raises(UserError, match="they come from another model or other weights"):
        measure(replace(case, language_model=lambda: other), SETTINGS, Silent())
    folder = workspace_of_thoughts.activations_folder("thoughts")
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", {**manifest, "positions": "last"})
    with pytest.raises(UserError, match="--positions thoughts"):
        _measured(workspace_of_thoughts, codi)
    write_json(folder / "manifest.json", manifest)
    examples = pd.read_parquet(folder / "examples.parquet")
    examples.drop(columns="final_answer").to_parquet(folder / "examples.parquet", index=False)
    with pytest.raises(UserError, match="does not say the final_answer"):
        _measured(workspace_of_thoughts, codi)


def _measured(workspace: Workspace, codi: Codi, layer: int = LAYER) -> Measured:
    return measure(case_of(workspace, codi, sae(), layer), SETTINGS, Silent())
