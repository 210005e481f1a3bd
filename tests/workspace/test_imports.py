"""SAEs from elsewhere: measured on activations that are here, kept as runs, and nothing written when refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sae.common.errors import UserError
from sae.common.files import file_sha256
from sae.workspace import Workspace
from sae.workspace.imports import import_path
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations

SAELENS = Path(__file__).parents[1] / "formats" / "fixtures" / "saelens"


def grid_file(path: Path, d_in: int = 24, d_sae: int = 40, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    layers = nn.ModuleDict({"encoder": nn.Linear(d_in, d_sae), "decoder": nn.Linear(d_sae, d_in)})
    torch.save(layers.state_dict(), path)
    return path


def everything(workspace: Workspace) -> set[str]:
    files = (file for file in workspace.root.rglob("*") if "workspace.db" not in file.name)
    return {str(file.relative_to(workspace.root)) for file in files}


def test_a_grid_file_becomes_a_run_with_the_metrics_of_its_own_forward_pass(filled: Workspace, tmp_path: Path) -> None:
    path = grid_file(tmp_path / "pos3_d40_k5.pt")
    run = filled.run(import_path(filled, path, "rows"))
    state = {name: value.double().numpy() for name, value in torch.load(path, weights_only=True).items()}
    piece = filled.open_activations("rows").slice()
    rows, train = piece.validation_rows, piece.train_rows
    x = np.asarray(piece.x, np.float64)
    pre = x[rows] @ state["encoder.weight"].T + state["encoder.bias"]
    kept = np.argsort(-np.abs(pre), axis=1)[:, :5]
    sparse = np.zeros_like(pre)
    np.put_along_axis(sparse, kept, np.take_along_axis(pre, kept, 1), 1)
    error = x[rows] - sparse @ state["decoder.weight"].T - state["decoder.bias"]
    expected = 1 - (error**2).sum() / ((x[rows] - x[train].mean(0)) ** 2).sum()
    assert run.metrics["validation"]["ev_total"] == pytest.approx(expected, abs=1e-4)
    assert run.metrics["all"]["l0"] == 5
    assert run.factors == {"d_sae": 40, "k": 5}
    assert run.config["kind"] == "import" and run.config["experiment"] is None
    assert run.config["name"] == "pos3_d40_k5"
    source = run.config["source"]
    assert (source["format"], source["path"]) == ("grid-pt", path.name)
    assert source["sha256"] == {path.name: file_sha256(path)}
    assert len(run.features()) == 40 and run.codes().n_rows == 600
    line = filled.runs_table().set_index("id").loc[run.id]
    assert (line["status"], line["kind"], line["name"]) == ("done", "import", "pos3_d40_k5")


def test_the_same_file_again_gives_the_same_run_and_another_file_another(filled: Workspace, tmp_path: Path) -> None:
    first = import_path(filled, grid_file(tmp_path / "a_k5.pt"), "rows", name="first SAE")
    before = everything(filled)
    assert import_path(filled, tmp_path / "a_k5.pt", "rows", name="first SAE") == first
    assert everything(filled) == before
    other = import_path(filled, grid_file(tmp_path / "a_k5.pt", seed=1), "rows", name="first SAE")
    assert other != first
    assert filled.run(first).config["name"] == "first SAE" and first.startswith("import-first-SAE-")


def test_a_saelens_folder(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    put_activations(workspace, d_in=6)
    run = workspace.run(import_path(workspace, SAELENS / "standard", "rows"))
    assert run.config["model"] == {"architecture": "standard", "d_in": 6, "d_sae": 16, "apply_b_dec_to_input": True}
    assert run.factors == {"d_sae": 16}
    assert np.isfinite(run.metrics["validation"]["ev_total"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: grid_file(folder / "pos3_d40_k5.pt", d_in=30), ["30", "24", "'rows'"]),
        (lambda folder: grid_file(folder / "weights.pt"), ["does not say its k"]),
        (lambda folder: folder / "nothing.pt", ["nothing at"]),
        (lambda folder: SAELENS / "topk", ["6", "24"]),
    ],
)
def test_nothing_is_written_when_it_is_refused(filled: Workspace, tmp_path: Path, make, words: list[str]) -> None:
    before = everything(filled)
    with pytest.raises(UserError) as caught:
        import_path(filled, make(tmp_path), "rows")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert everything(filled) == before


def test_unknown_activations_and_a_name_of_nothing(filled: Workspace, tmp_path: Path) -> None:
    path = grid_file(tmp_path / "pos3_d40_k5.pt")
    refused = (("other", None, "other"), (None, None, "which activations"), ("rows", " \n", "name"))
    for activations, name, words in refused:
        with pytest.raises(UserError, match=words):
            import_path(filled, path, activations, name=name)


def test_a_failure_half_way_leaves_nothing(filled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("sae.workspace.results.write_parquet", full)
    with pytest.raises(OSError, match="no space"):
        import_path(filled, grid_file(tmp_path / "pos3_d40_k5.pt"), "rows")
    assert not filled.run_ids()


class TestRunFolders:
    @pytest.fixture
    def copied(self, filled: Workspace, tmp_path: Path) -> Path:
        """A finished run of this workspace, copied out of it."""
        train_grid(filled, tmp_path / "job", k=(4,), d_sae=(32,))
        (run,) = filled.run_ids()
        return Path(shutil.copytree(filled.run_folder(run), tmp_path / "from-a-colleague"))

    def test_where_its_activations_are_here_it_keeps_its_metrics(self, copied: Path, tmp_path: Path) -> None:
        here = Workspace(tmp_path / "elsewhere")
        put_activations(here, name="under-another-name")
        config = json.loads((copied / "config.json").read_text())
        run = here.run(import_path(here, copied, None))
        assert run.id == config["id"] and run.factors == config["factors"]
        assert run.config["training"] == config["training"]
        assert run.config["data"]["activations"] == "under-another-name"
        assert run.config["source"]["details"]["experiment"] == "grid"
        told = json.loads((copied / "metrics.json").read_text())
        assert run.results["metrics"] == told["metrics"] and run.results["train_seconds"] == told["train_seconds"]
        assert run.results["sha256"]["weights.safetensors"] == told["sha256"]["weights.safetensors"]
        assert len(run.history()) > 0

    def test_elsewhere_it_is_measured_on_the_activations_given(self, copied: Path, tmp_path: Path) -> None:
        here = Workspace(tmp_path / "elsewhere")
        put_activations(here, name="other", seed=9)
        with pytest.raises(UserError, match="which activations"):
            import_path(here, copied, None)
        run = here.run(import_path(here, copied, "other"))
        told = json.loads((copied / "metrics.json").read_text())
        assert run.metrics["all"]["ev_total"] != told["metrics"]["all"]["ev_total"]
        assert run.config["data"]["activations"] == "other"

    def test_the_same_id_is_taken_once(self, copied: Path, filled: Workspace) -> None:
        run = json.loads((copied / "config.json").read_text())["id"]
        assert import_path(filled, copied, "rows") == run  # the very same run is here
        weights = filled.run_folder(run) / "weights.safetensors"
        before = weights.read_bytes()
        content = bytearray(before)
        content[-1] ^= 1
        (copied / "weights.safetensors").write_bytes(bytes(content))
        with pytest.raises(UserError, match="here already with other weights"):
            import_path(filled, copied, "rows")
        assert weights.read_bytes() == before

    def test_metrics_that_its_weights_do_not_give_are_refused(self, copied: Path, tmp_path: Path) -> None:
        here = Workspace(tmp_path / "elsewhere")
        put_activations(here)
        told = json.loads((copied / "metrics.json").read_text())
        told["metrics"]["validation"]["ev_total"] = 0.99
        (copied / "metrics.json").write_text(json.dumps(told))
        with pytest.raises(UserError, match="do not belong together"):
            import_path(here, copied, "rows")
        assert not here.run_ids()

    def test_an_id_with_a_path_in_it_is_refused(self, copied: Path, tmp_path: Path) -> None:
        here = Workspace(tmp_path / "elsewhere")
        put_activations(here)
        config = json.loads((copied / "config.json").read_text()) | {"id": "../../escaped"}
        (copied / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match="run id"):
            import_path(here, copied, "rows")
        assert not (tmp_path / "escaped").exists() and not here.run_ids()
