"""Sweeps over layers and positions: which slice a run is trained on, resuming, and what is refused."""

import numpy as np
import pytest

from sae.common.errors import UserError
from sae.experiments import KINDS
from sae.experiments.plan import Spec, over_all_slices
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.register import planned
from sae.workspace.work import run_experiment
from tests.workspace.thoughts import put_thoughts, tiny_codi

SWEEP = KINDS["layer-position-sweep"]


def spec(**changes):
    settings = {"epochs": 2, "batch_size": 32}
    factors = {"position": [0, 3], "k": [2], "d_sae": [16], **changes.pop("factors", {})}
    return {
        "kind": "layer-position-sweep",
        "name": "sweep",
        "activations": "thoughts",
        "layer": None,
        "position": None,
        "factors": factors,
        "settings": settings,
        **changes,
    }


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("sweep") / "workspace")
    put_thoughts(workspace, tiny_codi(tmp_path_factory.mktemp("model")))
    run_experiment(workspace, spec(), "cpu", JobProgress(tmp_path_factory.mktemp("job")))
    return workspace


def test_every_layer_with_every_position_that_was_asked_for(swept):
    experiment = swept.experiment("sweep")
    assert experiment.factors["layer"] == [0, 1] and experiment.factors["position"] == [0, 3]
    runs = experiment.runs()
    assert [(r.factors["layer"], r.factors["position"]) for r in runs] == [(0, 0), (0, 3), (1, 0), (1, 3)]
    for run in runs:
        data = run.config["data"]
        assert (data["layer"], data["position"]) == (run.factors["layer"], run.factors["position"])


def test_each_run_is_measured_on_its_own_slice(swept):
    activations = swept.open_activations("thoughts")
    for run in swept.experiment("sweep").runs():
        piece = activations.slice(run.factors["layer"], run.factors["position"])
        x = np.asarray(piece.x, np.float64)
        model = run.model()
        import torch

        with torch.no_grad():
            back = model.decode(model.encode(torch.from_numpy(x.astype(np.float32)))).double().numpy()
        held, mean = piece.validation_rows, x[piece.train_rows].mean(0)
        ev = 1 - ((x - back)[held] ** 2).sum() / ((x - mean)[held] ** 2).sum()
        assert run.metrics["validation"]["ev_total"] == pytest.approx(ev, abs=1e-4)


def test_a_near_constant_slice_is_named(swept):
    facts = {(r.factors["layer"], r.factors["position"]): r.results["slice"] for r in swept.experiment("sweep").runs()}
    assert [place for place, fact in facts.items() if fact["near_constant"]] == [(0, 0)]
    rows = np.asarray(swept.open_activations("thoughts").slice(1, 3).x, np.float64)
    rows = rows[swept.open_activations("thoughts").slice(1, 3).train_rows]
    assert facts[(1, 3)]["mean_norm"] == pytest.approx(np.linalg.norm(rows.mean(0)), rel=1e-6)
    spread = np.sqrt(((rows - rows.mean(0)) ** 2).sum(1).mean())
    assert facts[(1, 3)]["centred_norm"] == pytest.approx(spread, rel=1e-6)


def test_what_is_finished_is_not_trained_again(swept, tmp_path):
    before = {run.id: run.results["finished"] for run in swept.experiment("sweep").runs()}
    run_experiment(swept, spec(), "cpu", JobProgress(tmp_path))
    assert {run.id: run.results["finished"] for run in swept.experiment("sweep").runs()} == before


def test_all_slices_by_default(swept):
    plan = planned(swept, Spec(**{**spec(), "factors": {"k": [2], "d_sae": [16]}}))
    assert len(plan.runs) == 14
    assert len({run.id for run in plan.runs}) == 14
    # Runs of a slice follow each other, so that its rows are read once.
    assert [(run.layer, run.position) for run in plan.runs] == sorted((run.layer, run.position) for run in plan.runs)


def test_what_is_refused_says_what_to_do(swept):
    with pytest.raises(UserError, match="no layer 0 with position 9"):
        planned(swept, Spec(**spec(factors={"position": [9]})))
    with pytest.raises(UserError, match="give them as factors"):
        over_all_slices(SWEEP, Spec(**spec(layer=1)), [(0, 0), (1, 0)])
