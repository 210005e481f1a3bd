"""A cosine experiment from its specification to what stands on disk."""

import numpy as np
import pytest

import sae
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment
from tests.workspace.helpers import put_activations


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workspace = Workspace.at(tmp_path_factory.mktemp("cosine"))
    x = put_activations(workspace)
    spec = {
        "kind": "cosine-ablation-topk",
        "name": "codes",
        "activations": "rows",
        "layer": None,
        "position": None,
        "factors": {"d_sae": [48], "k": [4], "rounding": ["pass_through", "topk", "topk_values"]},
        "settings": {"epochs": 4, "batch_size": 64},
    }
    run_experiment(workspace, spec, "cpu", JobProgress(tmp_path_factory.mktemp("progress")))
    return workspace, x


def test_metrics_agree_with_the_codes_that_are_kept(trained):
    workspace, x = trained
    experiment = workspace.experiment("codes")
    assert len(experiment.content["runs"]) == 3
    for run in experiment.runs():
        assert run.done, run.error
        codes = run.codes().csr()
        counts = np.diff(codes.indptr)
        metrics, rounding = run.metrics["all"], run.factors["rounding"]
        assert metrics["average_activation_count"] == pytest.approx(counts.mean())
        assert metrics["activation_count_standard_deviation"] == pytest.approx(counts.std())
        assert metrics["index_bits"] == pytest.approx(counts.mean() * 6)
        assert (set(np.unique(codes.data)) == {1.0}) == (rounding != "topk_values")
        if rounding != "pass_through":
            assert (counts == 4).all()
        assert 0 < metrics["reconstruction_loss"] < 1


def test_a_run_opens_in_python_and_reconstructs_what_its_metrics_say(trained):
    workspace, x = trained
    run = next(r for r in workspace.experiment("codes").runs() if r.factors["rounding"] == "pass_through")
    opened = sae.open(run.id, workspace=workspace.root)
    code = np.asarray(opened.encode(x))
    weights = run.weights()
    guess = code @ weights["W_dec"] + weights["b_dec"]
    cosines = (guess * x).sum(1) / np.linalg.norm(guess, axis=1) / np.linalg.norm(x, axis=1)
    assert run.metrics["all"]["reconstruction_loss"] == pytest.approx(1 - cosines.mean(), abs=1e-5)


def test_curves_show_the_losses_and_the_bits(trained):
    workspace, _ = trained
    for run in workspace.experiment("codes").runs():
        history = run.history()
        assert {"objective", "reconstruction_loss", "sparsity_alignment", "bit_flips", "gradient_norm"} <= set(history)
        assert history["bit_flips"].between(0, 1).all()
