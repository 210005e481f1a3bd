"""Thoughts: maps over layers and steps, one problem, one feature over slices, a pasted problem; thought rows' cards."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from sae.common.files import read_json, write_json, write_parquet
from sae.ui import card_examples, loaded, thought_data
from sae.workspace import Workspace
from tests.pages.states import reopened
from tests.pages.test_grid import spec
from tests.pages.test_home import words
from tests.workspace.made import copy_of
from tests.workspace.thoughts import LAYERS, STEPS, N, make


@pytest.fixture(scope="module")
def thoughts(tmp_path_factory) -> Workspace:
    """Not to be written to."""
    return copy_of(make, tmp_path_factory.mktemp("thoughts") / "workspace")


@pytest.fixture
def own_thoughts(thoughts, tmp_path) -> Workspace:
    shutil.copytree(thoughts.root, tmp_path / "own")
    return Workspace(tmp_path / "own")


def plain_words(at) -> str:
    return words(at).replace("\\", "").replace("**", "")


def run_at(workspace: Workspace, layer: int, position: int, k: int) -> str:
    runs = workspace.experiment("sweep").content["runs"]
    factors = {"layer": layer, "position": position, "k": k}
    (found,) = [run["id"] for run in runs if factors.items() <= run["factors"].items()]
    return found


def component(at, name: str) -> dict:
    """What a component of our own was given to draw."""
    (found,) = [one for one in at.get("bidi_component") if one.proto.component_name == name]
    return json.loads(found.proto.json)


def test_without_thoughts_the_way_to_some_is_shown(open_page, workspace):
    at = open_page("thoughts", workspace)
    assert not at.exception
    assert "No thoughts yet" in words(at)


def test_other_experiments_are_not_offered(open_page, results):
    at = open_page("thoughts", results)
    assert not at.exception
    assert "No thoughts yet" in words(at)


def test_maps_of_layers_and_steps(open_page, thoughts):
    at = open_page("thoughts", thoughts, experiment="sweep", k="4")
    assert not at.exception and not at.error
    drawn = spec(at, "thought_map_ev_total")
    heat = next(trace for trace in drawn["data"] if trace["type"] == "heatmap")
    assert heat["x"] == [str(step) for step in range(STEPS)] and heat["y"] == [str(layer) for layer in range(LAYERS)]
    assert drawn["layout"]["xaxis"]["ticktext"][:2] == ["BOT<br>0", "z1<br>1"]
    written = [a["text"] for a in drawn["layout"]["annotations"]]
    for layer, step in ((0, 1), (1, 0), (1, 6)):
        expected = thoughts.run(run_at(thoughts, layer, step, 4)).metrics["validation"]["ev_total"]
        assert f"{expected:.3f}" in written
    assert any(text.startswith("constant") for text in written)
    said = plain_words(at)
    assert "Near-constant: layer 0, position 0 (BOT)" in said
    best = max(
        (thoughts.run(run_at(thoughts, layer, step, 4)).metrics["validation"]["ev_total"], layer, step)
        for layer in range(LAYERS) for step in range(STEPS) if (layer, step) != (0, 0)
    )  # fmt: skip
    assert f"Highest: {best[0]:.3f} at layer {best[1]}, position {best[2]}" in said
    assert "Seed convention: position 0 is BOT" in said
    assert "The layout of values over thoughts is a training target of this model" in said
    charts = [chart.proto.id for chart in at.get("plotly_chart")]
    metrics = [metric for metric in thought_data.METRICS if metric not in thought_data.PATCHED]
    assert len(charts) == len(metrics) + 2  # each metric, and the chosen one for K 2 and 4
    assert all(any(f"-thought_by_k_{k}" in chart for chart in charts) for k in (2, 4))
    assert "Patch these SAEs" in [link.proto.label for link in at.get("page_link")]


def test_maps_begin_with_the_mean_of_all_configurations(open_page, thoughts):
    at = open_page("thoughts", thoughts, experiment="sweep", metric="dead")
    assert not at.exception and not at.error
    assert at.selectbox(key="k").value == "mean"
    drawn = spec(at, "thought_map_dead")
    heat = next(trace for trace in drawn["data"] if trace["type"] == "heatmap")
    assert (len(heat["x"]), len(heat["y"])) == (STEPS, LAYERS)
    written = [a["text"] for a in drawn["layout"]["annotations"]]
    for layer, step in ((0, 1), (1, 0), (1, 6)):
        runs = [thoughts.run(run_at(thoughts, layer, step, k)) for k in (2, 4)]
        mean = np.mean([run.metrics["validation"]["dead"] for run in runs])
        assert f"{100 * mean:.1f} %" in written  # and no spread: they differ in more than their seed
        custom = next(c for c in drawn["data"][-1]["customdata"] if (c[2], c[1]) == (layer, step))
        assert "mean of 2 SAEs" in custom[4] and set(custom[3].split(",")) == {run.id for run in runs}
    # A problem is opened with one configuration.
    at = open_page("thoughts", thoughts, experiment="sweep", view="problem", k="mean")
    assert not at.exception and not at.error and not at.warning
    assert at.selectbox(key="k").value == 2


def test_while_a_sweep_trains_what_waits_is_hatched(open_page, own_thoughts):
    begun = run_at(own_thoughts, 1, 2, 2)
    shutil.rmtree(own_thoughts.run_folder(begun))
    spec_of = own_thoughts.experiment("sweep").spec
    own_thoughts.jobs.enqueue("experiment", "sweep", spec_of, device="cpu")
    at = open_page("thoughts", own_thoughts, experiment="sweep", k="2")
    assert not at.exception and not at.error
    assert "28 runs: 27 done, 1 queued." in words(at)
    drawn = spec(at, "thought_map_ev_total")
    assert sum(shape["name"] == "missing" for shape in drawn["layout"]["shapes"]) == 2  # and the near-constant one
    custom = next(c for c in drawn["data"][-1]["customdata"] if (c[2], c[1]) == (1, 2))
    assert custom[4] == "queued"


def test_the_other_convention_and_metric(open_page, thoughts):
    at = open_page("thoughts", thoughts, experiment="sweep", convention="latent", metric="dead", split="all")
    assert not at.exception
    drawn = spec(at, "thought_map_dead")
    assert drawn["layout"]["xaxis"]["ticktext"][:2] == ["BOT<br>–", "z1<br>0"]
    assert "Latent convention: positions 0 to 5" in plain_words(at)
    assert "Lowest:" in plain_words(at)


def test_one_slice_says_so_and_a_plain_model_has_no_remark(open_page, own_thoughts):
    path = own_thoughts.activations_folder("thoughts") / "manifest.json"
    manifest = read_json(path)
    write_json(path, {**manifest, "model": {**manifest["model"], "kind": "pure"}})
    at = open_page("thoughts", own_thoughts, experiment="one", view="maps")
    assert not at.exception and not at.error
    assert "This experiment has one slice" in words(at)
    assert "training target" not in words(at)


def test_a_problem_with_its_thoughts_and_features(open_page, thoughts):
    at = open_page("thoughts", thoughts, experiment="sweep", view="problem", k="2", layer="1", example="7")
    assert not at.exception and not at.error
    line = thoughts.open_activations("thoughts").examples.iloc[7]
    assert line["question"] in [text.value for text in at.text]
    assert f"Problem 7, train: 8 of {N}" in plain_words(at)
    drawn = component(at, "sae_thought_steps")["steps"]
    assert [step["name"] for step in drawn] == ["BOT", *(f"z{step}" for step in range(1, STEPS))]
    kept = json.loads(line["thoughts"])
    for step, shown in enumerate(drawn):
        assert shown["words"][0]["word"] == kept[step][0][0]
        assert shown["words"][0]["share"] == f"{100 * kept[step][0][1]:.1f} %"
        features, values = thoughts.run(run_at(thoughts, 1, step, 2)).codes().row(7)
        expected = {int(f): f"{v:.3g}" for f, v in zip(features, values, strict=True)}
        assert {one["feature"]: one["value"] for one in shown["features"]} == expected
        sizes = [abs(float(one["value"])) for one in shown["features"]]
        assert sizes == sorted(sizes, reverse=True)
    assert drawn[3]["features"][0]["href"].startswith("features?experiment=sweep&run=")


def test_filters_leave_the_problems_that_fit(open_page, thoughts):
    examples = thoughts.open_activations("thoughts").examples
    at = open_page("thoughts", thoughts, experiment="sweep", view="problem", answered="wrong", steps="2", operation="*")
    fitting = np.flatnonzero(
        ~examples["correct"] & (examples["n_steps"] == 2) & examples["operations"].str.contains("*", regex=False)
    )
    assert f"Problem {fitting[0]}," in plain_words(at) and f"1 of {len(fitting)}" in plain_words(at)
    at.button(key="problem_next").click().run()
    assert f"Problem {fitting[1]}," in plain_words(at)
    at = open_page("thoughts", thoughts, experiment="sweep", view="problem", q="nothing has this")
    assert not at.exception and at.info[0].value.startswith("No problem fits")
    at = open_page("thoughts", thoughts, experiment="sweep", view="problem", example="9999")
    assert "9999" in at.warning[0].value


def test_a_problem_that_was_skipped_says_why(open_page, own_thoughts):
    folder = own_thoughts.activations_folder("thoughts")
    examples = pd.read_parquet(folder / "examples.parquet")
    examples["correct"] = examples["correct"].astype(object)  # as parquet gives back what is partly missing
    examples.loc[4, ["thoughts", "model_answer", "correct"]] = None
    write_parquet(folder / "examples.parquet", examples)
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", {**manifest, "skipped": [{"example": 4, "reason": "no words"}]})
    at = open_page("thoughts", own_thoughts, experiment="sweep", view="problem", example="4")
    assert not at.exception and not at.error
    assert at.info[0].value.replace("\\", "") == "This problem was not thought through: no words."
    assert not at.get("bidi_component")


def test_a_single_slice_reads_only_its_step(open_page, thoughts):
    at = open_page("thoughts", thoughts, experiment="one", k="2")
    assert not at.exception and not at.error
    steps = component(at, "sae_thought_steps")["steps"]
    assert [step["features"] is not None for step in steps] == [step == 3 for step in range(STEPS)]
    assert steps[0]["note"] == "no run stands on this step"


def test_a_feature_over_all_slices(open_page, thoughts):
    run = thoughts.run(run_at(thoughts, 1, 2, 4))
    feature = int(run.features()["n_active"].idxmax())
    at = open_page("thoughts", thoughts, view="feature", run=run.id, feature=str(feature))
    assert not at.exception and not at.error
    drawn = spec(at, "thought_strip")
    heat = next(trace for trace in drawn["data"] if trace["type"] == "heatmap")
    share = run.features()["n_active"].iloc[feature] / N
    written = [a["text"] for a in drawn["layout"]["annotations"]]
    assert f"{100 * share:.1f} %" in written
    outlines = [shape for shape in drawn["layout"]["shapes"] if shape.get("name") == "selected"]
    assert [(o["x0"], o["y0"]) for o in outlines] == [(1.5, 0.5)]
    assert heat["y"] == ["0", "1"]
    assert "trained on layer 1, position 2 (z2)" in plain_words(at)
    assert at.session_state["_thought_strips"]


def test_a_pasted_problem(open_page, thoughts):
    examples = thoughts.open_activations("thoughts").examples
    at = open_page("thoughts", thoughts, experiment="sweep", view="paste", k="2", layer="1")
    assert not at.exception and "Nothing is loaded until there is a problem" in words(at)
    at = open_page("thoughts", thoughts, experiment="sweep", view="paste", k="2", layer="1",
                   problem=examples["question"].iloc[5])  # fmt: skip
    assert not at.exception and not at.error
    assert examples["model_answer"].iloc[5].split()[0] in plain_words(at)
    drawn = component(at, "sae_thought_steps")["steps"]
    assert [step["words"][0]["word"] for step in drawn] == [
        step[0][0] for step in json.loads(examples["thoughts"].iloc[5])
    ]
    features, _ = thoughts.run(run_at(thoughts, 1, 4, 2)).codes().row(5)
    assert sorted(one["feature"] for one in drawn[4]["features"]) == features.tolist()


def test_words_that_the_model_does_not_know_are_named(open_page, thoughts):
    at = open_page("thoughts", thoughts, experiment="sweep", view="paste", problem="Ann has 5 zyzzyvas.")
    assert not at.exception
    assert "does not know" in at.error[0].value and "zyzzyvas" in at.error[0].value
    assert not [one for one in at.get("bidi_component") if one.proto.component_name == "sae_thought_steps"]


def test_without_runs_problems_can_be_read(open_page, own_thoughts):
    for name in ("sweep", "one"):
        own_thoughts.delete_experiment(name)
    at = open_page("thoughts", own_thoughts, example="2")
    assert not at.exception and not at.error
    drawn = component(at, "sae_thought_steps")["steps"]
    assert all(step["features"] is None for step in drawn) and drawn[1]["words"]


def test_cards_of_thought_rows_show_the_steps_and_not_tokens(thoughts, monkeypatch):
    monkeypatch.setenv("SAE_WORKSPACE", str(thoughts.root))
    run = thoughts.run(run_at(thoughts, 1, 3, 4))
    feature = int(run.codes().n_active.argmax())
    lines = card_examples.strata(run, feature, 5).query("stratum == 'top'")
    examples = loaded.slice_of(run).activations.examples
    for line, shown in zip(lines.to_dict("records"), card_examples.shown(run, feature, lines), strict=True):
        problem = examples.iloc[line["example"]]
        assert [chip.here for chip in shown.chips] == [step == 3 for step in range(STEPS)]
        kept = json.loads(problem["thoughts"])
        assert [(chip.name, chip.word) for chip in shown.chips][1] == ("z1", kept[1][0][0])
        assert "".join(piece for piece, _ in shown.segments) == problem["question"]
        terms = dict(shown.lines)
        right = "right" if problem["correct"] else "wrong"
        first = json.loads(problem["steps"])[0]["expression"]
        assert terms["Reference steps"].startswith(f"{first} = ")
        assert terms[f"Model's answer, {right}"] == problem["model_answer"]
        assert shown.aside.endswith(f"answered {right}")
        assert shown.value == pytest.approx(line["activation"])
        assert shown.href == f"thoughts?view=problem&run={run.id}&example={line['example']}"


def test_a_cards_examples_by_right_or_wrong(open_page, thoughts):
    run = thoughts.run(run_at(thoughts, 1, 3, 4))
    examples = thoughts.open_activations("thoughts").examples
    feature = int(run.codes().n_active.argmax())
    at = open_page("features", thoughts, run=run.id, feature=str(feature), answered="wrong", many="5")
    assert not at.exception and not at.error
    wrong = ~examples["correct"].to_numpy(bool)
    assert f"From the {wrong.sum()} of {N} rows that fit the filter" in words(at)
    shown = component(at, "sae_token_strip")["examples"]
    values = run.codes().csc()[:, feature].toarray().ravel()
    expected = [i for i in np.argsort(-np.abs(values), kind="stable") if wrong[i] and values[i]][:5]
    assert [one["heading"] for one in shown] == [f"Example {i}" for i in expected]
    assert all(len(one["chips"]) == STEPS and one["chips"][3]["here"] for one in shown)
    assert "the hidden state at layer 1, step 3 (z3)" in plain_words(at)
    assert "training target" in words(at)


def test_examples_of_a_pair_of_thought_rows(open_page, thoughts):
    run = thoughts.run(run_at(thoughts, 1, 3, 4))
    at = open_page("pairs", thoughts, run=run.id, support="5")
    assert not at.exception and not at.error
    shown = component(at, "sae_token_strip")["examples"]
    assert shown and all(one["chips"][3]["here"] for one in shown)
    assert "the hidden state at layer 1, step 3 (z3)" in plain_words(at)
    assert "training target" in words(at)


def test_far_below_nought_a_cell_says_only_that(open_page, thoughts):
    run = thoughts.run(run_at(thoughts, 0, 1, 2))
    at = open_page("thoughts", thoughts, view="feature", run=run.id)
    written = [a["text"] for a in spec(at, "thought_fit")["layout"]["annotations"]]
    assert any("below -10" in text for text in written)  # the slice that hardly varies
    assert max(len(part.split(">")[-1]) for text in written for part in text.split("<br>")) <= len("below -10")


def test_random_states_reopen_from_their_address(open_page, thoughts):
    assert reopened(open_page, "thoughts", thoughts, 12) > 3
