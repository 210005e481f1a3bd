"""A run's specificity: made from its codes and its examples' labels, kept, and read again."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

import sae
from sae.common.errors import UserError
from sae.common.files import write_json, write_parquet
from sae.workspace import Workspace
from sae.workspace.specificity import specificity_of
from tests.workspace.made import copy_of
from tests.workspace.results import make


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return copy_of(make, tmp_path_factory.mktemp("made") / "workspace")


@pytest.fixture
def workspace(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def mark(workspace, run, feature):
    """Give the examples a label `kind` that says whether `feature` fires."""
    folder = workspace.activations_folder(run.config["data"]["activations"])
    examples = pd.read_parquet(folder / "examples.parquet")
    fires = np.zeros(len(examples), bool)
    fires[run.codes().feature(feature)[0]] = True
    write_parquet(folder / "examples.parquet", examples.assign(kind=np.where(fires, "on", "off")))


def middling(run):
    """A feature that fires on about half of the rows, as near as there is one."""
    return int((run.features()["density"] - 0.4).abs().argmin())


def test_a_planted_label_is_found_and_kept(workspace):
    run = workspace.experiment("both").runs()[0]
    feature = middling(run)
    mark(workspace, run, feature)
    found = specificity_of(workspace, run)
    line = found.features.iloc[feature]
    assert line["label"] == "kind on" and line["confirmed"] and line["heldout_f1"] == 1.0
    assert {"verb", "number of steps", "number in the question", "kind"} <= set(found.labels["family"])

    shutil.rmtree(workspace.activations_folder("rows"))  # what is kept needs nothing else
    again = specificity_of(workspace, run)
    for name in ("features", "findings", "labels"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(again, name), check_dtype=False)
    assert again.notes == found.notes


def test_it_is_made_without_being_kept(workspace):
    run = workspace.experiment("both").runs()[0]
    before = set(os.listdir(run.folder))
    found = specificity_of(workspace, run, keep=False)
    assert set(os.listdir(run.folder)) == before and len(found.features) == run.config["model"]["d_sae"]


def test_a_damaged_copy_is_made_again(workspace):
    run = workspace.experiment("both").runs()[0]
    specificity_of(workspace, run)
    (run.folder / "specificity.parquet").write_bytes(b"PAR1")
    found = specificity_of(workspace, run)
    assert len(found.features) == run.config["model"]["d_sae"]
    assert len(pd.read_parquet(run.folder / "specificity.parquet")) == len(found.features)


def test_rows_that_are_tokens(workspace):
    (run,) = workspace.experiment("tokens").runs()
    folder = workspace.activations_folder("tokens")
    examples = pd.read_parquet(folder / "examples.parquet")
    owner = pd.read_parquet(folder / "rows.parquet")["example"].to_numpy()
    codes = run.codes()
    counts = [len(np.unique(owner[codes.feature(j)[0]])) for j in range(codes.d_sae)]
    feature = int(np.argmin(np.abs(np.array(counts) - 22)))
    fires = np.isin(np.arange(len(examples)), owner[codes.feature(feature)[0]])
    write_parquet(folder / "examples.parquet", examples.assign(kind=np.where(fires, "on", "off")))
    found = specificity_of(workspace, run)
    assert found.features["n_examples"].tolist() == counts
    assert found.features.iloc[feature]["label"] == "kind on"


def test_activations_that_are_others_by_now(workspace):
    run = workspace.experiment("both").runs()[0]
    folder = workspace.activations_folder("rows")
    opened = workspace.open_activations("rows")
    write_json(folder / "manifest.json", {**opened.manifest, "sha256": "0" * 64})
    with pytest.raises(UserError, match="not those that run"):
        specificity_of(workspace, run)


def test_in_a_notebook(workspace, monkeypatch):
    monkeypatch.setenv("SAE_WORKSPACE", str(workspace.root))
    run = sae.open(workspace.experiment("both").run_ids()[0])
    assert len(run.specificity.features) == run.config["model"]["d_sae"]
