"""Runs of every architecture from the command's specification to the pages: Run in its views, the card of a feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sae
from sae.experiments import kind_of
from sae.formats import run_folder
from sae.ui.train_form import check, settings_table
from sae.workspace import Workspace
from sae.workspace.checks import run_checks
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment
from tests.pages.conftest import describe_examples
from tests.workspace.helpers import put_activations

SETTINGS: dict[str, dict[str, Any]] = {
    "batchtopk": {},
    "matryoshka-batchtopk": {"prefix_fractions": "1/4, 1"},
    "jumprelu": {"calibrated": True, "lr": 1e-2},
    "gated": {"calibrated": True, "lr": 1e-2},
    "panneal": {"resampling": True},
    "topk": {"multi_topk": True},
}


def spec(architecture):
    settings = {"epochs": 30, "batch_size": 64, "architecture": architecture, **SETTINGS[architecture]}
    base = {"kind": "topk-grid", "name": architecture, "activations": "rows", "layer": None, "position": None}
    return {**base, "factors": {"d_sae": [40], "k": [4], "preset": ["corrected"], "seed": [0]}, "settings": settings}


@pytest.fixture(scope="module")
def of_each(tmp_path_factory):
    root = tmp_path_factory.mktemp("architectures")
    workspace = Workspace(root / "workspace")
    put_activations(workspace, n=200)
    describe_examples(workspace.activations_folder("rows"))
    for architecture in SETTINGS:
        run_experiment(workspace, spec(architecture), "cpu", JobProgress(root / "progress"))
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    return workspace


@pytest.mark.parametrize("architecture", SETTINGS)
def test_a_run_is_a_run_like_any_other(of_each, open_page, architecture):
    (run,) = of_each.experiment(architecture).runs()
    assert run.done, run.error
    assert run.config["training"]["architecture"] == architecture
    assert run.config["model"]["architecture"] == {"panneal": "standard"}.get(architecture, architecture)
    x = np.asarray(of_each.open_activations("rows").array, dtype=np.float32).copy()
    kept = run.codes().csr().toarray()
    np.testing.assert_allclose(np.asarray(sae.open(run.id, workspace=of_each.root).encode(x)), kept, atol=1e-5)
    with torch.no_grad():  # as another workspace imports it
        copied = run_folder.read(run.folder).model.encode(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(copied, kept, atol=1e-5)
    lights = {found.name: found.holds for found in run_checks(of_each, run)}
    assert False not in lights.values()
    # every one of them ends its steps with unit decoder rows; what is stored as another kind doesn't claim to
    assert lights["Decoder rows at unit norm"] is (None if architecture == "panneal" else True)
    for view in ("overview", "activity", "geometry", "autopsy", "configuration"):
        at = open_page("run", of_each, run=run.id, view=view)
        assert not at.exception and not at.error, (view, at.exception, at.error)
    for feature in (run.features().sort_values("n_active")["feature"].iloc[[0, -1]]).tolist():
        at = open_page("features", of_each, run=run.id, feature=str(feature))
        assert not at.exception and not at.error


@pytest.mark.parametrize("architecture", SETTINGS)
def test_the_form_shows_what_such_a_run_is_trained_with(of_each, architecture):
    asked = spec(architecture) | {"name": "other"}
    (run,) = check(of_each, asked).runs
    table = settings_table(kind_of("topk-grid"), asked["factors"], asked["settings"])
    shown = dict(zip(table["Setting"], table["corrected"], strict=True))
    assert shown["batch_size"] == "64" == str(run.config.batch_size)
