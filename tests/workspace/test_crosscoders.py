"""Crosscoders in a workspace: trained over layers, measured by layer, checked, compared, refused with a reason."""

import numpy as np
import pandas as pd
import pytest

from sae.analysis.layer_norms import by_layer, relative_norms
from sae.capture.run_rows import place_words, rows_alike, rows_read
from sae.common.errors import UserError
from sae.experiments import measurement_of
from sae.experiments.plan import Spec
from sae.figures.layers import ev_by_layer
from sae.formats.forms import WRITTEN, why_not
from sae.workspace import Workspace
from sae.workspace.autopsies import autopsy_of
from sae.workspace.checks import run_checks
from sae.workspace.child import JobProgress
from sae.workspace.comparing import alone, match_runs
from sae.workspace.comparing import why_not as why_not_compared
from sae.workspace.imports import import_path
from sae.workspace.measurements import case_of
from sae.workspace.over_slices import over_slices_of
from sae.workspace.register import planned
from sae.workspace.work import run_experiment
from tests.workspace.test_transcoders import WIDTH, N, put_slices


def spec(name, **changes):
    return {
        "kind": "crosscoders", "name": name, "activations": "layers", "layer": None, "position": 0,
        "factors": {"k": [3], "d_sae": [32], "layers": ["all", "2"]},
        "settings": {"epochs": 6, "batch_size": 32, "lr": 3e-3}, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("layers") / "workspace")
    put_slices(workspace)
    run_experiment(workspace, spec("cross"), "cpu", JobProgress(tmp_path_factory.mktemp("j")))
    return workspace


def runs(workspace):
    return {run.factors["layers"]: run for run in workspace.experiment("cross").runs()}


def test_each_layer_is_measured_by_itself(trained):
    run, activations = runs(trained)["all"], trained.open_activations("layers")
    assert run.done and run.config["data"]["layers"] == [0, 1, 2] and run.config["data"]["layer"] is None
    rows = [np.asarray(activations.slice(layer, 0).x, np.float64) for layer in range(3)]
    w = {name: value.astype(np.float64) for name, value in run.weights().items()}
    parts = [slice(layer * WIDTH, (layer + 1) * WIDTH) for layer in range(3)]
    a = w["b_enc"] + sum((x - w["b_dec"][p]) @ w["W_enc"][p] for x, p in zip(rows, parts, strict=True))
    f = np.where(a >= np.sort(a, axis=1)[:, -3][:, None], np.maximum(a, 0), 0)
    piece = activations.slice(0, 0)
    held, train = piece.validation_rows, piece.train_rows
    errors, spreads = np.empty(3), np.empty(3)
    for layer, (x, part) in enumerate(zip(rows, parts, strict=True)):
        guess = f @ w["W_dec"][:, part] + w["b_dec"][part]
        errors[layer] = ((x - guess)[held] ** 2).sum()
        spreads[layer] = ((x - x[train].mean(0))[held] ** 2).sum()
        assert w["layer_spread"][layer] == pytest.approx(np.sqrt(((x - x[train].mean(0))[train] ** 2).sum(1).mean()))
    found = run.metrics["validation"]
    for layer in range(3):
        assert found[f"ev_layer_{layer}"] == pytest.approx(1 - errors[layer] / spreads[layer], abs=1e-4)
    assert found["ev_layers"] == pytest.approx((1 - errors / spreads).mean(), abs=1e-4)
    assert found["ev_total"] == pytest.approx(1 - errors.sum() / spreads.sum(), abs=1e-4)
    features = run.features()
    norms = features[["norm_layer_0", "norm_layer_1", "norm_layer_2"]].to_numpy()
    np.testing.assert_allclose((norms**2).sum(1), 1, atol=1e-4)
    by_hand = np.linalg.norm(w["W_dec"][:, parts[1]], axis=1) / w["layer_spread"][1]
    np.testing.assert_allclose(norms[:, 1] / by_hand, (norms[:, 1] / by_hand)[0], rtol=1e-4)


def test_directions_are_compared_in_units_of_the_layers(trained):
    run = runs(trained)["all"]
    even = (run.weights()["W_dec"].reshape(32, 3, WIDTH) / run.weights()["layer_spread"][:, None]).reshape(32, -1)
    even /= np.linalg.norm(even, axis=1, keepdims=True)
    cosines = np.abs(even @ even.T) - 2 * np.eye(32)
    alive = ~run.features()["dead"].to_numpy()
    nearest = cosines[np.ix_(alive, alive)].max(1)
    np.testing.assert_allclose(run.features()["max_decoder_cosine"].abs()[alive], nearest, atol=1e-5)
    cosines = even @ even.T - 2 * np.eye(32)
    assert run.metrics["all"]["max_decoder_cosine_mean"] == pytest.approx(
        cosines[np.ix_(alive, alive)].max(1).mean(), abs=1e-5
    )


def test_of_one_layer_its_measure_is_that_of_the_whole(trained):
    run = runs(trained)["2"]
    assert run.config["data"]["layers"] == [2] and run.config["model"]["d_in"] == WIDTH
    assert run.metrics["validation"]["ev_layer_2"] == pytest.approx(run.metrics["validation"]["ev_total"], abs=1e-6)
    assert "norm_layer_2" in run.features() and not (run.folder / "error.json").exists()


def test_layers_are_drawn_beside_runs_that_have_one_to_themselves(trained):
    run, one = (runs(trained)[layers] for layers in ("all", "2"))
    assert {layer: other.id for layer, other in alone(trained, run).items()} == {2: one.id}
    ev = one.metrics["validation"]["ev_total"]
    table = by_layer(run.metrics["validation"], run.features(), {2: one.metrics["validation"]})
    assert list(table["layer"]) == [0, 1, 2] and table["norm_share"].sum() == pytest.approx(1)
    assert list(table["ev"]) == [run.metrics["validation"][f"ev_layer_{layer}"] for layer in range(3)]
    np.testing.assert_array_equal(table["ev_alone"], [np.nan, np.nan, ev])
    bars = {trace.name: list(trace.y) for trace in ev_by_layer(table).data}
    assert bars["this crosscoder"] == list(table["ev"]) and bars["the layer by itself"][2] == ev
    features = pd.DataFrame({"norm_layer_0": [1.0, 0.0, 0.0], "norm_layer_1": [3.0, 2.0, 0.0]})
    np.testing.assert_array_equal(relative_norms(features, 0, 1), [0.75, 1, np.nan])


def test_every_light_is_green(trained):
    lights = {check.name: check.holds for check in run_checks(trained, runs(trained)["all"])}
    assert lights["Decoder rows at unit norm"] and lights["Explained variance comes out again from the files"]
    assert False not in lights.values()


def test_its_features_are_seen_on_other_positions_and_dead_ones_are_looked_at(trained):
    run, activations = runs(trained)["all"], trained.open_activations("layers")
    read = rows_read(activations, run.config["data"])
    assert read.x.shape == (N, 3 * WIDTH) and read.title == "layers 0, 1 and 2, position 0" and read.key == "L0+1+2P0"
    assert place_words(run.config["data"]) == ["layers 0, 1, 2", "position 0"]
    np.testing.assert_array_equal(read.x[[3, 5]][:, WIDTH : 2 * WIDTH], activations.slice(1, 0).x[[3, 5]])
    assert [piece.title for piece in rows_alike(activations, run.config["data"])] == [
        "layers 0, 1 and 2, position 0", "layers 0, 1 and 2, position 1",
    ]  # fmt: skip
    over = over_slices_of(run, activations)
    assert over.places == ((None, 0), (None, 1)) and np.isfinite(over.ev).all()
    np.testing.assert_array_equal(over.n_active[0], run.codes().n_active)
    assert autopsy_of(trained, run).n_rows == N


def test_runs_of_other_layers_share_rows_and_no_directions(trained):
    whole, one = (runs(trained)[layers] for layers in ("all", "2"))
    reasons = why_not_compared(trained, whole, one)
    assert "36 and 12 dimensions" in str(reasons["cosine"]) and reasons["correlation"] is None
    assert match_runs(trained, whole, whole, "cosine").features["similarity"].min() > 0.999


def test_a_copy_of_it_is_measured_alike(trained, tmp_path):
    run = runs(trained)["all"]
    elsewhere = Workspace(tmp_path / "workspace")
    put_slices(elsewhere)
    copied = elsewhere.run(import_path(elsewhere, run.folder, None))
    assert copied.config["data"]["layers"] == [0, 1, 2]
    assert copied.metrics["validation"] == pytest.approx(run.metrics["validation"], abs=1e-6)


def test_what_needs_one_layer_refuses_it(trained):
    run = runs(trained)["all"]
    case = case_of(trained, run.id, trained.open_activations("layers"), None, "cpu")
    with pytest.raises(UserError, match="which reads several layers at once"):
        measurement_of("core").of(case, {}, JobProgress(trained.root))
    for name in WRITTEN:
        assert "several layers at once" in str(why_not(name, run.config["model"]))
    with pytest.raises(UserError, match="leave the layer out"):
        planned(trained, Spec(**spec("more", layer=1)))
    with pytest.raises(UserError, match="has no layer 7"):
        run_experiment(
            trained,
            spec("more", factors={"layers": ["0+7"], "k": [3], "d_sae": [32]}),
            "cpu",
            JobProgress(trained.root),
        )


def test_layers_that_nobody_names_are_each_and_all(trained):
    plan = planned(trained, Spec(**spec("more", factors={"k": [3], "d_sae": [32]})))
    assert plan.factors["layers"] == ["0", "1", "2", "all"]
    assert [run.config.layers_read for run in plan.runs] == [(0,), (1,), (2,), (0, 1, 2)]
