"""Runs with mechanisms from the command line to what stands on disk."""

import numpy as np
import pytest
import torch

import sae
from sae.cli.main import main
from sae.common.errors import UserError
from sae.formats import run_folder
from sae.formats.grid_pt import write_grid_pt
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment


def spec(name, **settings):
    base = {"kind": "topk-grid", "name": name, "activations": "rows", "layer": None, "position": None}
    factors = {"d_sae": [40], "k": [4], "preset": ["corrected"]}
    return {**base, "factors": factors, "settings": {"epochs": 8, "batch_size": 64, **settings}}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("relu", {"architecture": "standard", "orthogonality": "hinge", "adaptive_l1": True, "inhibition": "permuted"}),
        ("nested", {"architecture": "matryoshka", "prefix_fractions": "1/4, 1", "prune": True, "ortsae_weight": 0.25}),
        ("topk", {"orthogonality": "hinge", "pair_selection": "threshold", "inhibition": "adaptive"}),
    ],
)
def test_a_run_with_mechanisms_is_a_run_like_any_other(filled, tmp_path, name, settings):
    if "inhibition" in settings:
        settings = {**settings, "inhibition_radius": 4}
    run_experiment(filled, spec(name, **settings), "cpu", JobProgress(tmp_path / "progress"))
    (run,) = filled.experiment(name).runs()
    assert run.done, run.error
    assert run.results["training"] and set(run.results["training"]) >= {"loss_spikes", "gradient_norm_cv"}
    assert run.history()["objective"].notna().all()
    # the codes on disk are those of the model on disk, and of the copy that another workspace imports
    opened = sae.open(run.id, workspace=filled.root)
    x = np.asarray(filled.open_activations("rows").array, dtype=np.float32).copy()
    kept = run.codes().csr().toarray()
    np.testing.assert_allclose(np.asarray(opened.encode(x)), kept, rtol=1e-5, atol=1e-6)
    copied = run_folder.read(run.folder).model
    with torch.no_grad():
        np.testing.assert_allclose(copied.encode(torch.from_numpy(x)).numpy(), kept, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="does not fit the published grid's layout"):
        write_grid_pt(copied, tmp_path / "pos3_d40_k4.pt")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["prune=true", "mechanism_mode=literal"],
            "is shorter than prune_window, which is 100 steps in the literal mode",
        ),
        (
            ["reallocation=true", "reallocation_window=5000"],
            "is shorter than reallocation_window, which is 5,000 steps",
        ),
        (["epochs=0"], "epochs 0 must be at least 1"),
    ],
)
def test_a_run_that_would_end_before_its_windows_do_exits_2_and_leaves_nothing(filled, capsys, settings, said):
    words = ["experiment", "run", "topk-grid", "--name", "short", "--activations", "rows"]
    sets = [word for setting in [*settings, "batch_size=256"] for word in ("--set", setting)]
    assert main([*words, *sets, "--workspace", str(filled.root)]) == 2
    assert said in capsys.readouterr().err
    assert not filled.experiment_folder("short").exists()
