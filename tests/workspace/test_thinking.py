"""A pasted problem is thought through as the captured ones were, and read by the SAEs that were trained on those."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sae.capture.store import Activations
from sae.capture.thoughts import capture_thoughts
from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.workspace import Workspace, thinking
from tests.workspace.thoughts import LAYERS, STEPS, generated, make


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return make(tmp_path_factory.mktemp("thinking") / "workspace")


def test_a_captured_problem_gives_the_same_states_words_answer_and_features(workspace):
    activations = workspace.open_activations("thoughts")
    codi = thinking.model_of(activations)
    assert thinking.model_of(activations) is codi
    for example in (3, 40):
        line = activations.examples.iloc[example]
        found = thinking.think_through(codi, activations, line["question"])
        kept = json.loads(line["thoughts"])
        assert [[word for word, _ in step] for step in kept] == [[word for word, _ in step] for step in found.words]
        assert len(found.words) == STEPS
        np.testing.assert_allclose(
            [share for step in found.words for _, share in step], [share for step in kept for _, share in step],
            rtol=1e-4,
        )  # fmt: skip
        for layer in range(LAYERS):
            stored = [activations.slice(layer, step).x[example] for step in range(1, STEPS)]
            np.testing.assert_allclose(found.states[layer][1:], np.array(stored, np.float32), rtol=2e-3, atol=1e-3)
        for run in workspace.experiment("one").runs():
            features, values = thinking.firing(run, found)
            expected = run.codes().row(example)
            np.testing.assert_array_equal(features, expected[0])
            np.testing.assert_allclose(values, expected[1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("final_norm", ["before", "after"])
def test_states_are_those_of_a_capture(workspace, tmp_path, final_norm):
    codi = thinking.model_of(workspace.open_activations("thoughts"))
    capture_thoughts(
        codi, generated().head(8), tmp_path / "few", name="few", layers=range(LAYERS), final_norm=final_norm,
        dtype="float32",
    )  # fmt: skip
    few = Activations.open(tmp_path / "few")
    found = thinking.think_through(thinking.model_of(few), few, str(few.examples["question"].iloc[6]))
    for layer in range(LAYERS):
        stored = [few.slice(layer, step).x[6] for step in range(STEPS)]
        np.testing.assert_allclose(found.states[layer], np.array(stored), rtol=1e-4, atol=1e-5)
    assert found.answer == few.examples["model_answer"].iloc[6]


def test_unknown_words_are_named_and_nothing_is_computed(workspace):
    activations = workspace.open_activations("thoughts")
    codi = thinking.model_of(activations)
    with pytest.raises(UserError, match="does not know 'zyzzyva', '12345': it would read another problem"):
        thinking.think_through(codi, activations, "zyzzyva has 12345 zyzzyva")
    with pytest.raises(UserError, match="no problem"):
        thinking.think_through(codi, activations, "  ")
    with pytest.raises(UserError, match="tokens"):
        thinking.think_through(codi, activations, " ".join(["has"] * 1000))


def test_another_model_of_the_same_name_is_refused(workspace, monkeypatch):
    activations = workspace.open_activations("thoughts")
    activations.manifest["model"] = {**activations.manifest["model"], "sha256": "f" * 64}
    with pytest.raises(UserError, match="has changed since"):
        thinking.model_of(activations)
    activations.manifest["positions"] = "last"
    with pytest.raises(UserError, match="don't come from a model that thinks"):
        thinking.model_of(activations)


def test_a_run_of_a_step_that_is_not_there_is_refused(workspace):
    activations = workspace.open_activations("thoughts")
    found = thinking.think_through(
        thinking.model_of(activations), activations, str(activations.examples["question"].iloc[1])
    )
    (run, *_) = workspace.experiment("one").runs()
    config = read_json(run.folder / "config.json")
    write_json(run.folder / "config.json", {**config, "data": {**config["data"], "layer": 9}})
    with pytest.raises(UserError, match="layer 9"):
        thinking.firing(workspace.run(run.id), found)
    write_json(run.folder / "config.json", config)
