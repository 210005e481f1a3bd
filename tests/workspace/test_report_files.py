"""The report's appendix from our own runs: names, layouts, numbers computed again, and folders that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sae.cli.main import main
from sae.common.errors import UserError
from sae.common.files import file_sha256
from sae.formats import read
from sae.workspace import Workspace, report_files
from sae.workspace.report_files import write_report_files
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations

STATE_DICTS = {f"pos3_d{d}_k{k}.pt" for d in (16, 32) for k in (2, 4)}
METRICS = {"grid_metrics_latent16.json", "grid_metrics_latent32.json", "pareto_optimal_configs.json", "README.json"}
FIGURES = {
    f"heatmap_{name}.png"
    for name in ("explained_variance", "feature_death_rate", "mean_activation", "max_activation", "reconstruction_loss")
} | {"pareto_frontier.png"}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished grid of two presets and two seeds."""
    root = tmp_path_factory.mktemp("grid")
    workspace = Workspace(root / "w")
    put_activations(workspace)
    train_grid(workspace, root / "job", presets=("corrected", "published"), seeds=(0, 1))
    return workspace


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn in one test alone: a browser takes seconds to start."""

    def draw(figures: dict) -> list[Path]:
        for path in figures:
            path.write_bytes(b"drawn")
        return list(figures)

    monkeypatch.setattr("sae.figures.export.to_images", draw)


def published_forward(path: Path, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What the published code computes from a state dict, in float64: sparse activations and reconstruction."""
    state = {name: value.double().numpy() for name, value in torch.load(path, weights_only=True).items()}
    pre = x @ state["encoder.weight"].T + state["encoder.bias"]
    kept = np.argsort(-np.abs(pre), axis=1)[:, :k]
    sparse = np.zeros_like(pre)
    np.put_along_axis(sparse, kept, np.take_along_axis(pre, kept, 1), 1)
    return sparse, sparse @ state["decoder.weight"].T + state["decoder.bias"]


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report"


def test_the_appendix_is_complete_and_of_the_published_recipe(grid: Workspace, out: Path) -> None:
    document = write_report_files(grid, "grid", out)
    assert names(out) == STATE_DICTS | METRICS | FIGURES
    assert (document["preset"], document["seed"], document["position"]) == ("published", 0, None)
    assert document["files"] == sorted(names(out) - {"README.json"})
    assert document["figures_left_out"] is None
    assert "no thought position" in document["names"]
    said = json.loads((out / "README.json").read_text())
    assert {name: entry["sha256"] for name, entry in said["state_dicts"].items()} == {
        name: file_sha256(out / name) for name in STATE_DICTS
    }


def test_a_state_dict_computes_what_its_run_computes(grid: Workspace, out: Path) -> None:
    write_report_files(grid, "grid", out, seed=1)
    x = np.asarray(grid.open_activations("rows").slice().x, np.float64)[:50]
    entry = json.loads((out / "README.json").read_text())["state_dicts"]["pos3_d32_k4.pt"]
    run = grid.run(entry["run"])
    assert (run.factors["d_sae"], run.factors["k"], run.factors["seed"]) == (32, 4, 1)
    with torch.no_grad():
        expected = run.model()(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(published_forward(out / "pos3_d32_k4.pt", x, 4)[1], expected, atol=1e-4)


def test_a_signed_recipe_comes_back_as_one(grid: Workspace, out: Path) -> None:
    write_report_files(grid, "grid", out, preset="corrected")
    loaded = read(out / "pos3_d16_k2.pt")
    assert loaded.model.hyperparameters() == {"d_in": 24, "d_sae": 16, "k": 2, "selection": "signed"}


def test_metrics_are_those_of_the_feature_activations(grid: Workspace, out: Path) -> None:
    write_report_files(grid, "grid", out)
    content = json.loads((out / "grid_metrics_latent32.json").read_text())
    assert content["metadata"]["n_train"] == 480 and content["metadata"]["n_val"] == 120
    told = content["results"]["32"]["4"]
    piece = grid.open_activations("rows").slice()
    x = np.asarray(piece.x, np.float64)
    sparse, guess = published_forward(out / "pos3_d32_k4.pt", x, 4)
    rows = piece.validation_rows
    error = (x - guess)[rows]
    active = np.abs(sparse[rows][sparse[rows] != 0])
    assert told["explained_variance"] == pytest.approx(1 - error.var(ddof=1) / x[rows].var(ddof=1), abs=1e-5)
    assert told["reconstruction_loss"] == pytest.approx((error**2).mean(), rel=1e-4)
    assert told["num_dead_features"] == int((sparse == 0).all(0).sum())
    assert told["num_active_features"] == 32 - told["num_dead_features"]
    assert told["feature_death_rate"] == pytest.approx(told["num_dead_features"] / 32)
    assert told["mean_activation"] == pytest.approx(active.mean(), rel=1e-4)
    assert told["median_activation"] == pytest.approx(np.median(active), rel=1e-4)
    assert told["max_activation"] == pytest.approx(active.max(), rel=1e-4)
    assert (told["l0_mean"], told["l0_std"]) == (4.0, 0.0)


def test_both_pareto_tests_are_told_apart() -> None:
    """On the report's own table: 4 configurations are dominated by none, and all 12 pass the report's test."""
    from tests.analysis.report_grid import REPORT

    table = REPORT.rename(columns={"ev_total": "explained_variance", "dead": "feature_death_rate"}).assign(
        explained_variance_total=0.0, reconstruction_loss=0.0, mean_activation=0.0, run=""
    )
    found = report_files._pareto(table)
    assert (found["num_pareto"], found["num_dominated"]) == (4, 8)
    chosen = [(config["latent_dim"], config["k"]) for config in found["pareto_optimal"]]
    assert chosen == [(2048, 5), (2048, 10), (2048, 20), (1024, 100)]
    assert found["report_test"]["num_pareto"] == 12


class TestFolders:
    def test_an_earlier_output_is_replaced_whole(self, grid: Workspace, out: Path) -> None:
        write_report_files(grid, "grid", out)
        first = (out / "pos3_d16_k2.pt").read_bytes()
        write_report_files(grid, "grid", out, preset="corrected")
        assert names(out) == STATE_DICTS | METRICS | FIGURES
        assert (out / "pos3_d16_k2.pt").read_bytes() != first
        assert [item.name for item in out.parent.iterdir()] == [out.name]

    @pytest.mark.parametrize(
        "make",
        [
            lambda out: (out.mkdir(), (out / "thesis.tex").write_text("mine")),
            lambda out: (out.mkdir(), (out / "README.json").write_text('{"files": ["README.json"]}')),
            lambda out: out.write_text("a file"),
            lambda out: out.symlink_to(out.parent),
        ],
    )
    def test_what_others_put_there_stays(self, grid: Workspace, out: Path, make) -> None:
        make(out)
        before = sorted(item.name for item in out.parent.rglob("*"))
        with pytest.raises(UserError, match="report"):
            write_report_files(grid, "grid", out)
        assert sorted(item.name for item in out.parent.rglob("*")) == before

    def test_a_file_beside_an_earlier_output_stays_too(self, grid: Workspace, out: Path) -> None:
        write_report_files(grid, "grid", out)
        (out / "notes.txt").write_text("mine")
        with pytest.raises(UserError, match="notes.txt"):
            write_report_files(grid, "grid", out)
        assert (out / "notes.txt").read_text() == "mine"

    def test_a_failure_leaves_what_was_there(self, grid: Workspace, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_report_files(grid, "grid", out)
        before = {file.name: file.read_bytes() for file in out.iterdir()}

        def full(*_: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(report_files, "_write_figures", full)
        with pytest.raises(OSError, match="no space"):
            write_report_files(grid, "grid", out, preset="corrected")
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before
        assert [item.name for item in out.parent.iterdir()] == [out.name]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"preset": "report"}, "corrected, published"),
            ({"seed": 7}, "0, 1"),
            ({"experiment": "none"}, "grid"),
        ],
    )
    def test_what_it_does_not_have_is_named(self, grid: Workspace, out: Path, given: dict, words: str) -> None:
        given = dict(given)
        with pytest.raises(UserError, match=words):
            write_report_files(grid, given.pop("experiment", "grid"), out, **given)
        assert not out.exists()

    def test_an_unfinished_run_is_named(self, grid: Workspace, out: Path) -> None:
        run = next(run for run in grid.experiment("grid").run_ids() if "published" in run)
        metrics = grid.run_folder(run) / "metrics.json"
        metrics.rename(metrics.with_name("aside.json"))
        try:
            with pytest.raises(UserError, match=f"not finished, the first {run}"):
                write_report_files(grid, "grid", out)
        finally:
            metrics.with_name("aside.json").rename(metrics)


def test_without_a_browser_the_rest_is_there_and_says_why(
    grid: Workspace, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(figures: dict) -> None:
        raise UserError("no Chromium is installed")

    monkeypatch.setattr("sae.figures.export.to_images", none)
    arguments = ["report-files", "grid", "--out", str(out), "--workspace", str(grid.root), "--json"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert names(out) == STATE_DICTS | METRICS
    assert json.loads(said.out)["figures_left_out"] == "no Chromium is installed"
    assert "figures were left out: no Chromium" in said.err


def test_bad_input_ends_with_2_and_one_line(grid: Workspace, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report-files", "other", "--out", str(out), "--workspace", str(grid.root)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: there is no experiment named 'other'")


@pytest.mark.browser
def test_the_six_figures_are_images(grid: Workspace, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    document = write_report_files(grid, "grid", out)
    if document["figures_left_out"]:
        pytest.skip(document["figures_left_out"])
    for name in FIGURES:
        content = (out / name).read_bytes()
        width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
        assert content.startswith(b"\x89PNG") and width > 800 and height > 500


def test_claims_are_held_against_the_experiment(grid: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--experiment", "grid", "--workspace", str(grid.root), "--json"]) == 0
    found = pd.DataFrame(json.loads(capsys.readouterr().out)).set_index("id")
    assert found.loc["all-pareto", "verdict"] == "refuted"
    assert found.loc["all-pareto-here", "value"].endswith("of 4")
    assert found.loc["unit-norm-here", "verdict"] == "refuted"  # the published code normalises once
    assert found.loc["exact-sparsity", "verdict"] == "reproduced"
    runs = grid.experiment("grid").results()
    chosen = runs[(runs["preset"] == "published") & (runs["split"] == "all")]
    times = [grid.run(run).results["train_seconds"] for run in chosen["id"]]
    assert found.loc["time-per-sae", "value"] == f"{min(times):.1f} s to {max(times):.1f} s"
    assert "'rows'" in found.loc["ev-k5-d512", "reason"] or "no finished run" in found.loc["ev-k5-d512", "reason"]
