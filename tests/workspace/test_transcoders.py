"""Transcoders and deeper SAEs in a workspace: trained from slice to slice, measured on what they write, checked."""

import numpy as np
import pandas as pd
import pytest
import torch

from sae.common.errors import UserError
from sae.common.files import file_sha256, write_json, write_parquet
from sae.experiments import measurement_of
from sae.experiments.data import Data
from sae.experiments.measurement import Case
from sae.experiments.plan import Spec
from sae.training.config import from_settings
from sae.workspace import Workspace
from sae.workspace.autopsies import autopsy_of
from sae.workspace.checks import run_checks
from sae.workspace.child import JobProgress
from sae.workspace.encoder_rows import encoder_rows
from sae.workspace.over_slices import over_slices_of
from sae.workspace.register import planned, register
from sae.workspace.work import run_experiment

N, WIDTH, LAYERS, STEPS = 120, 12, 3, 2


def put_slices(workspace):
    """Three layers, two positions each; each layer is read off the one before, around a mean of its own."""
    generator = np.random.default_rng(0)
    atoms = generator.standard_normal((30, WIDTH))
    blocks = {}
    for position in range(STEPS):
        rows = (generator.random((N, 30)) * (generator.random((N, 30)) < 0.1)) @ atoms + 3
        for layer in range(LAYERS):
            blocks[layer, position] = rows
            rows = 2 * np.maximum(rows - rows.mean(0), 0) @ generator.standard_normal((WIDTH, WIDTH)) - 5 * (layer + 1)
    order = sorted(blocks)
    folder = workspace.activations_folder("layers")
    folder.mkdir(parents=True)
    np.save(folder / "activations.npy", np.concatenate([blocks[place] for place in order]).astype(np.float32))
    split = np.where(np.arange(N) % 5 == 4, "validation", "train")
    lines = [
        pd.DataFrame({"example": np.arange(N, dtype=np.int32), "split": split, "layer": layer, "position": position})
        for layer, position in order
    ]
    write_parquet(folder / "rows.parquet", pd.concat(lines, ignore_index=True))
    write_parquet(folder / "examples.parquet", pd.DataFrame({"question": [f"question {i}" for i in range(N)]}))
    slices = [
        {"layer": layer, "position": position, "start": N * i, "stop": N * (i + 1)}
        for i, (layer, position) in enumerate(order)
    ]
    write_json(
        folder / "manifest.json",
        {
            "format": 1, "name": "layers", "kind": "import", "model": None, "positions": None, "dtype": "float32",
            "d_in": WIDTH, "n_rows": N * len(order), "n_examples": N, "slices": slices,
            "sha256": file_sha256(folder / "activations.npy"),
        },
    )  # fmt: skip


def spec(name, architecture, **settings):
    return {
        "kind": "topk-grid", "name": name, "activations": "layers", "layer": 0, "position": 0,
        "factors": {"k": [3], "d_sae": [32], "seed": [0]},
        "settings": {"architecture": architecture, "epochs": 6, "batch_size": 32, "lr": 3e-3, **settings},
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("pairs") / "workspace")
    put_slices(workspace)
    for name, architecture, settings in (
        ("up", "transcoder", {"skip": True}),
        ("on", "transcoder", {"target_layer": "same", "target_position": "1", "chunk_rows": 16}),
        ("deep", "deep-topk", {"encoder_layers": 2, "decoder_layers": 2}),
    ):
        run_experiment(
            workspace, spec(name, architecture, **settings), "cpu", JobProgress(tmp_path_factory.mktemp("j"))
        )
    return workspace


def only(workspace, name):
    return workspace.experiment(name).runs()[0]


@pytest.mark.parametrize(("name", "place"), [("up", (1, 0)), ("on", (0, 1))])
def test_a_transcoder_is_measured_on_what_it_writes(trained, name, place):
    run, activations = only(trained, name), trained.open_activations("layers")
    assert run.done and run.config["data"]["target"] == {"layer": place[0], "position": place[1]}
    read, written = activations.slice(0, 0), np.asarray(activations.slice(*place).x, np.float64)
    w = {key: value.astype(np.float64) for key, value in run.weights().items()}
    a = np.asarray(read.x, np.float64) @ w["W_enc"] + w["b_enc"]
    f = np.where(a >= np.sort(a, axis=1)[:, -3][:, None], np.maximum(a, 0), 0)
    guess = f @ w["W_dec"] + w["b_dec"] + (np.asarray(read.x, np.float64) @ w["W_skip"] if "W_skip" in w else 0)
    held, mean = read.validation_rows, written[read.train_rows].mean(0)
    spread = ((written - mean)[held] ** 2).sum()
    ev = 1 - ((written - guess)[held] ** 2).sum() / spread
    assert run.metrics["validation"]["ev_total"] == pytest.approx(ev, abs=1e-4)
    assert run.history()["validation_ev_total"].dropna().iloc[-1] == pytest.approx(ev, abs=1e-4)
    baselines = {kind: splits["validation"] for kind, splits in run.results["baselines"].items()}
    assert baselines["mean_predictor"]["ev_total"] == pytest.approx(0, abs=0.2)
    x = np.asarray(read.x, np.float64)
    assert baselines["identity"]["ev_total"] == pytest.approx(1 - ((written - x)[held] ** 2).sum() / spread)
    design = np.c_[x, np.ones(N)]
    fit = design @ np.linalg.lstsq(design[read.train_rows], written[read.train_rows], rcond=None)[0]
    assert baselines["linear"]["ev_total"] == pytest.approx(1 - ((written - fit)[held] ** 2).sum() / spread, abs=1e-2)


@pytest.mark.parametrize("name", ["up", "on", "deep"])
def test_every_light_is_green_and_pre_activations_are_the_models(trained, name):
    run = only(trained, name)
    lights = {check.name: check.holds for check in run_checks(trained, run)}
    wrong = {name for name, holds in lights.items() if holds is False}
    assert wrong <= {"No two living features with one direction"}  # the second position can't be told from the first
    assert lights["Explained variance comes out again from the files"]
    assert lights["Explained variance of predicting the mean is 0"]
    x = np.array(trained.open_activations("layers").slice(0, 0).x)
    rows, b_dec = encoder_rows(run, x)
    found = (rows - (0 if b_dec is None else b_dec)) @ run.weights()["W_enc"] + run.weights()["b_enc"]
    with torch.no_grad():
        wanted = run.model().pre_activations(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    assert autopsy_of(trained, run).n_rows == N


def test_on_other_slices_a_transcoder_shows_what_fires_and_no_explained_variance(trained):
    activations = trained.open_activations("layers")
    assert np.isnan(over_slices_of(only(trained, "up"), activations).ev).all()
    assert np.isfinite(over_slices_of(only(trained, "deep"), activations).ev).all()


def test_what_needs_reconstructions_of_what_is_read_refuses_a_transcoder(trained):
    run, activations = only(trained, "up"), trained.open_activations("layers")
    piece = activations.slice(0, 0)
    case = Case(run.id, {}, run.model(), run.codes(), piece, activations, lambda: None, "cpu")  # type: ignore
    with pytest.raises(UserError, match="is a transcoder, which writes others"):
        measurement_of("core").of(case, {}, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"target_layer": "7"}, "has no layer 7"), ({"target_position": "-1"}, "has no layer 1, position -1")],
)
def test_a_slice_that_is_not_there_is_refused_before_training(trained, settings, said):
    plan = planned(trained, Spec(**spec("nowhere", "transcoder", **settings)))
    with pytest.raises(UserError, match=said):
        register(trained, plan)


def test_streamed_rows_of_two_slices_are_the_resident_ones(trained):
    data = Data(trained.open_activations("layers").slice(0, 0), "cpu")
    target = data.target(from_settings({"architecture": "transcoder"}))
    resident, streamed = data.rows(0, target), data.rows(16, target)
    numbers = torch.tensor([5, 0, 5, 17])
    assert torch.equal(resident.take(numbers), streamed.take(numbers))
    seen = torch.cat(list(streamed.batches(0, 0, 32)))
    every = resident.take(torch.arange(resident.n))
    assert torch.equal(seen[seen[:, 0].argsort()], every[every[:, 0].argsort()])
    assert data.rows(0) is not resident and data.rows(0, target) is resident
