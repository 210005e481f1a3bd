"""Orthogonality experiments from training to their page and files."""

import numpy as np
import pandas as pd
import pytest

from sae.analysis.ablations import efficiency
from sae.cli.main import main
from sae.common.errors import UserError
from sae.common.files import read_json
from sae.workspace import Workspace
from sae.workspace import ablation_files as module
from sae.workspace.ablation_files import write_ablation_files
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment
from tests.workspace.helpers import put_activations


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Workspace:
    """Three levels of two seeds; not to be written to."""
    root = tmp_path_factory.mktemp("orthogonality")
    workspace = Workspace(root / "w")
    put_activations(workspace)
    factors = {"mechanism": ["baseline", "pairs", "matryoshka"], "d_sae": [80], "k": [4], "seed": [0, 1]}
    spec = {"kind": "orthogonality", "name": "apart", "activations": "rows", "layer": None, "position": None,
            "factors": factors, "settings": {"epochs": 5, "batch_size": 96}}  # fmt: skip
    run_experiment(workspace, spec, "cpu", JobProgress(root))
    return workspace


def test_the_four_figures_are_of_the_runs(trained, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(module, "_write_images", lambda figures: made.extend(figures))
    document = write_ablation_files(trained, "apart", tmp_path / "out")
    assert [path.name for path in made] == [f"{name}.png" for name in document["figures"]]
    assert set(document["figures"]) == {
        "training_curves",
        "sparsity_evolution",
        "feature_correlations",
        "feature_usage",
    }
    runs = {(run.factors["mechanism"], run.factors["seed"]): run for run in trained.experiment("apart").runs()}
    validation = trained.open_activations("rows").slices[0].validation_rows

    curves = pd.read_csv(tmp_path / "out" / "training_curves.csv")
    pairs = curves[curves["level"] == "pairs"]
    last = [runs["pairs", seed].history().iloc[-1]["objective"] for seed in (0, 1)]
    assert pairs.iloc[-1]["mean"] == pytest.approx(np.mean(last)) and pairs.iloc[-1]["least"] == pytest.approx(
        min(last)
    )

    bars = pd.read_csv(tmp_path / "out" / "feature_correlations.csv").set_index("name")
    for level in ("baseline", "pairs", "matryoshka"):
        r = []
        for seed in (0, 1):
            codes = runs[level, seed].codes()
            dense = np.zeros((codes.n_rows, codes.d_sae))
            dense[np.repeat(np.arange(codes.n_rows), np.diff(codes.row_indptr)), codes.row_features] = codes.row_values
            dense = dense[validation]
            dense = dense[:, dense.std(0) > 0]
            matrix = np.abs(np.corrcoef(dense.T))
            r.append((matrix.sum() - len(matrix)) / (len(matrix) * (len(matrix) - 1)))
        assert bars.at[level, "mean"] == pytest.approx(np.mean(r), rel=1e-4) and bars.at[level, "n"] == 2

    use = pd.read_csv(tmp_path / "out" / "feature_usage.csv")
    first = use[(use["level"] == "baseline") & (use["rank"] == 1)].iloc[0]
    codes = runs["baseline", 0].codes()
    counts = [np.isin(codes.feature(j)[0], validation).sum() / len(validation) for j in range(codes.d_sae)]
    assert first["least"] <= max(counts) + 1e-12 <= first["most"] + 1e-9
    assert read_json(tmp_path / "out" / "README.json")["runs"]["pairs"] == [runs["pairs", 0].id, runs["pairs", 1].id]


def test_the_command_line_writes_them(trained, tmp_path, capsys):
    assert main(["report-files", "apart", "--out", str(tmp_path / "out"), "--workspace", str(trained.root)]) == 0
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert "training_curves.csv" in there
    if "left out" not in capsys.readouterr().err:
        assert {f"{name}.png" for name in module.FIGURES} <= there
    assert main(["report-files", "apart", "--out", str(tmp_path / "o"), "--seed", "0", "--workspace",
                 str(trained.root)]) == 2  # fmt: skip


def test_what_is_not_there_is_said(trained, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="is not empty"):
        write_ablation_files(trained, "apart", tmp_path / "full")
    with pytest.raises(UserError, match="has no 'test' rows"):
        write_ablation_files(trained, "apart", tmp_path / "out", split="test")
    assert not (tmp_path / "out").exists()


def test_the_page_shows_levels_deeds_and_correlations(trained, open_page):
    at = open_page("ablations", trained, experiment="apart")
    assert not at.exception and not at.error
    texts = " ".join(one.value for one in at.markdown)
    assert "What each level is" in texts
    at = open_page("ablations", trained, experiment="apart", view="training", curve="orthogonality_loss")
    assert not at.exception and not at.error
    assert "How often each mechanism acted" in " ".join(one.value for one in at.markdown)
    at = open_page("ablations", trained, experiment="apart", view="codes")
    assert not at.exception and not at.error
    assert "How much features repeat each other" in " ".join(one.value for one in at.markdown)


def test_efficiency_is_reduction_over_what_was_paid():
    table = pd.DataFrame(
        [
            {"m": "base", "seed": s, "a": 0.5, "seconds": 10 + s, "ev_total": 0.9} for s in (0, 1)
        ] + [
            {"m": "good", "seed": s, "a": 0.3 - 0.02 * s, "seconds": 14 + s, "ev_total": 0.88} for s in (0, 1)
        ] + [
            {"m": "bad", "seed": s, "a": 0.6, "seconds": 9 + s, "ev_total": 0.95} for s in (0, 1)
        ]
    )  # fmt: skip
    found = efficiency(table, {"m": "base"}, ["m", "seed"], "a").set_index("m")
    good, bad = found.loc["good"], found.loc["bad"]
    assert good["reduction"] == pytest.approx(0.21) and good["seconds"] == pytest.approx(4)
    assert good["per_second"] == pytest.approx(0.21 / 4) and good["per_ev"] == pytest.approx(0.21 / 0.02)
    assert bad["reduction"] == pytest.approx(-0.1) and np.isnan(bad["per_second"]) and np.isnan(bad["per_ev"])
