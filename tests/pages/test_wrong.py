"""Right or wrong: what is said of a run, the volcano, the map of slices, and what stands there before all that."""

from __future__ import annotations

import json
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
from plotly.basedatatypes import BaseFigure

from sae.cli.main import main
from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.evaluation.error_prediction.one_pass import Detection
from sae.ui import wrong_data
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.measurements import measure_runs
from tests.pages.states import reopened
from tests.pages.test_grid import spec
from tests.pages.test_home import words
from tests.workspace import wrong_answers
from tests.workspace.helpers import put_activations
from tests.workspace.made import copy_of


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Workspace:
    """Not to be written to."""
    return copy_of(wrong_answers.make, tmp_path_factory.mktemp("wrong") / "workspace")


@pytest.fixture
def own(measured, tmp_path) -> Workspace:
    """A copy of the files of `measured`; a data base that is open is not to be copied."""
    root = tmp_path / "own"
    return Workspace(shutil.copytree(measured.root, root, ignore=shutil.ignore_patterns("workspace.db*")))


def said(at) -> str:
    return words(at).replace("\\", "").replace("**", "")


def run_at(workspace: Workspace, layer: int, position: int) -> str:
    listed = workspace.experiment("errors").content["measured"]
    (found,) = [
        one["id"] for one in listed if (one["factors"]["layer"], one["factors"]["position"]) == (layer, position)
    ]
    return found


def test_without_a_measurement_the_way_to_one_is_shown(open_page, workspace):
    at = open_page("wrong", workspace)
    assert not at.exception
    assert "No errors predicted yet" in words(at)


def test_what_cannot_be_asked_is_said_in_a_line(open_page, workspace):
    put_activations(Workspace(workspace), n=60)
    at = open_page("wrong", workspace)
    assert "Can't be asked, as they don't say which answers were right (no column 'correct'): rows." in said(at)


def test_the_command_names_an_experiment_that_can_be_asked(open_page, tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    wrong_answers.put(workspace)
    wrong_answers.sweep(workspace, tmp_path / "scratch")
    at = open_page("wrong", workspace)
    assert not at.exception
    assert at.code[0].value == "python -m sae experiment run error-prediction --from sweep --name sweep-errors"


def test_the_slice_with_the_full_protocol_comes_first(open_page, measured):
    at = open_page("wrong", measured, experiment="errors")
    assert not at.exception and not at.error
    run = run_at(measured, *wrong_answers.FULL)
    assert at.query_params["run"] in (run, [run])
    experiment = measured.experiment("errors")
    probes = experiment.part(run, "probes").set_index("probe")
    text = said(at)
    assert f"AUROC {probes['auroc']['sae']:.3f} (95 % interval" in text and probes["auroc"]["sae"] > 0.6
    wrong = int((~measured.open_activations("thoughts").examples["correct"][140:]).sum())
    assert f"Layer 1, position 2 (z2): {wrong} of 400 test problems answered wrong" in text
    assert "The layout of values over thoughts is a training target of this model" in text
    forest = spec(at, "wrong_forest")
    drawn = {name: x for trace in forest["data"] for name, x in zip(trace["y"], trace["x"], strict=True)}
    assert drawn == pytest.approx(dict(zip(probes["title"], probes["auroc"], strict=True)))
    assert any(shape["name"] == "null" for shape in forest["layout"]["shapes"])
    chances = spec(at, "wrong_calibration")
    assert {trace["name"] for trace in chances["data"]} == {"SAE features", "Raw activations", "Question only"}


def test_features_and_their_effects(open_page, measured):
    run = run_at(measured, *wrong_answers.FULL)
    table = measured.experiment("errors").part(run, "features")
    for effect, q in (("difference", "q_hypergeometric"), ("auroc", "q_mann_whitney")):
        at = open_page("wrong", measured, experiment="errors", run=run, effect=effect)
        assert not at.exception and not at.error
        figure = spec(at, "wrong_volcano")
        points = {
            custom[0]: (x, y) for trace in figure["data"] if "customdata" in trace
            for custom, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True)
        }  # fmt: skip
        tested = table[table[q].notna()].set_index("feature")
        assert set(points) == set(tested.index)
        for feature, (x, y) in points.items():
            assert x == pytest.approx(tested[effect][feature])
            assert y == pytest.approx(-np.log10(tested[q][feature]), abs=1e-6)
        listed = next(one.value for one in at.dataframe if "log_odds_ratio" in one.value)
        assert listed[q].dropna().is_monotonic_increasing and len(listed) == (table["n_active"] > 0).sum()
    assert tested["p_largest"].min() == 1 / 40  # the planted one


def test_a_slice_that_was_not_named_has_one_pass(open_page, measured):
    run = run_at(measured, 0, 0)
    at = open_page("wrong", measured, experiment="errors", run=run)
    assert not at.exception and not at.error
    found = measured.experiment("errors").part_results(run)[0]
    assert f"In one pass features reach AUROC {found['metrics']['auroc_one_pass']:.3f}" in said(at)
    assert any(f"--from sweep --name sweep-errors-full --runs {run}" in code.value for code in at.code)
    assert not any("wrong_forest" in chart.proto.id for chart in at.get("plotly_chart"))


def test_slices_beside_one_another(open_page, measured):
    at = open_page("wrong", measured, experiment="errors")
    figure = spec(at, "wrong_map")
    experiment = measured.experiment("errors")
    written = [a["text"] for a in figure["layout"]["annotations"]]
    for layer in wrong_answers.LAYERS:
        for step in wrong_answers.STEPS:
            metrics = experiment.part_results(run_at(measured, layer, step))[0]["metrics"]
            assert f"{metrics['auroc_one_pass']:.3f}" in written
    assert figure["layout"]["xaxis"]["ticktext"] == ["BOT<br>0", "z1<br>1", "z2<br>2"]
    # the direction that goes with errors is there at step 2 alone
    assert "Layer 1: from z2 on, features tell more than the question alone (98.3 % intervals" in said(at)


def test_early_detection_over_the_steps_of_a_layer(measured):
    experiment = measured.experiment("errors")
    slices = wrong_data.over_slices(experiment, run_at(measured, 1, 0))
    assert len(slices) == 6 and (slices["protocol"] == "full").sum() == 1
    table, found = wrong_data.step_table(experiment, slices, 1)
    assert list(table["position"]) == [0, 1, 2] and found.step == 2 and found.level == pytest.approx(1 - 0.05 / 3)
    draws = experiment.part(run_at(measured, 1, 1), "draws")["sae_one_pass"]
    assert table["low"][1] == pytest.approx(np.quantile(draws, 0.05 / 6), abs=1e-6)
    assert "At no step of layer 3" in wrong_data.detection_text(
        Detection(None, 0.95, {0: (0.4, 0.6)}, {0: (-0.1, 0.1)}), {}, 3
    )


def probes(low: float, high: float) -> pd.DataFrame:
    return pd.DataFrame({"probe": ["sae"], "auroc": [0.7], "auroc_low": [low], "auroc_high": [high]})


def test_the_verdict_says_plainly_what_was_found():
    compared = pd.DataFrame({"against": ["raw", "question", "log_prob"], "low": [-0.1, -0.02, -0.2],
                             "high": [0.0, 0.03, -0.1]})  # fmt: skip
    text = wrong_data.verdict(probes(0.6, 0.8), compared, {"p": 0.005, "n": 200})
    assert "better than chance (p = 0.005, 200 permutations of the labels)" in text
    assert "They beat none of the baselines" in text
    assert "They don't differ from raw activations and the question alone." in text
    assert "They tell less than the log-probability of the answer." in text
    text = wrong_data.verdict(probes(0.6, 0.8), compared.assign(low=0.01, high=0.2), {"p": 0.005, "n": 200})
    assert "They tell more than raw activations, the log-probability of the answer and the question alone." in text
    text = wrong_data.verdict(probes(0.45, 0.6), compared, {"p": 0.4, "n": 200})
    assert text.startswith("Features don't predict wrong answers here") and "baselines" not in text


def test_too_few_errors_are_one_line_with_the_accuracy(open_page, tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    wrong_answers.put(workspace, wrong_share=0.03)
    wrong_answers.sweep(workspace, tmp_path / "scratch")
    asked = {"kind": "error-prediction", "name": "errors", "source": "sweep", "runs": [], "settings": {}}
    with pytest.raises(UserError, match="of 400 test problems right") as error:
        measure_runs(workspace, asked, "cpu", JobProgress(tmp_path / "scratch"))
    assert "wrong answers are too few to predict (20 are needed)" in str(error.value)
    at = open_page("wrong", workspace)
    assert "too few to predict" in at.error[0].value and "No errors predicted yet" in words(at)


def test_a_near_constant_slice_is_named_on_the_map(open_page, own):
    path = own.run_folder(run_at(own, 1, 0)) / "metrics.json"
    found = read_json(path)
    write_json(path, {**found, "slice": {**found["slice"], "near_constant": True}})
    at = open_page("wrong", own, experiment="errors")
    assert not at.exception and not at.error
    figure = spec(at, "wrong_map")
    (mark,) = [a for a in figure["layout"]["annotations"] if a["text"].startswith("constant")]
    assert (mark["x"], mark["y"]) == (0, 1)
    assert sum(shape.get("name") == "missing" for shape in figure["layout"]["shapes"]) == 1
    named = "Near-constant, so that a number says little there: layer 1, position 0 (BOT)."
    assert said(at).count(named) == 2 * 2  # by the map and by the steps of this layer, each in its help as well
    at = open_page("wrong", own, experiment="errors", run=run_at(own, 0, 0))
    assert said(at).count(named) == 2


def test_what_was_named_beforehand_is_what_it_opens_with(open_page, own, tmp_path):
    shared = {"kind": "error-prediction", "source": "sweep", "runs": [run_at(own, 0, 0)]}
    quick = {**shared, "name": "quick", "settings": {"full": "none", **wrong_answers.SIZES}}
    measure_runs(own, quick, "cpu", JobProgress(tmp_path))
    content = own.experiment_folder("quick") / "experiment.json"
    write_json(content, {**read_json(content), "created": "2100-01-01T00:00:00+00:00"})
    at = open_page("wrong", own)
    assert not at.exception
    assert at.selectbox(key="experiment").options == ["errors", "quick"]
    assert at.selectbox(key="experiment").value == "errors"
    # One slice alone has no map, and leads to the experiment that has one.
    at = open_page("wrong", own, experiment="quick")
    assert "errors asks the same at other layers and steps of these activations." in said(at)


def test_recipes_run(open_page, measured, offered, monkeypatch, capsys):
    at = open_page("wrong", measured, experiment="errors")
    assert not at.exception and len(offered) >= 7
    monkeypatch.setattr(BaseFigure, "show", lambda self, *a, **k: None)
    for recipe in list(offered):
        exec(compile(recipe.python, "<wrong>", "exec"), {})  # our own text, which is what is tested
    # the command stands for what is there: it measures nothing again
    command = shlex.split(offered[0].command)[3:]
    status = main([*command, "--workspace", str(measured.root), "--json"])
    assert status == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["name"] == "errors"


def test_random_states_reopen_from_their_address(open_page, measured):
    assert reopened(open_page, "wrong", measured, 12) > 3
