"""Data over an empty workspace, activations with problems, and refused imports."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.ui import capture_form, data_view, thought_overview
from sae.workspace import Workspace
from sae.workspace.captures import capture, checked
from sae.workspace.start import estimate_capture
from tests.language_models.codi import tiny
from tests.language_models.tiny_encoder import make_encoder
from tests.pages.conftest import N
from tests.pages.test_home import words
from tests.problems.test_concepts import OBO


@pytest.fixture(scope="module")
def codi_folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("models") / "tiny-codi", "supervised")


@pytest.fixture(scope="module")
def thoughts(tmp_path_factory, codi_folder):
    """A workspace with captured thoughts. Not to be written to."""
    from sae.common.progress import Silent

    workspace = Workspace(tmp_path_factory.mktemp("thoughts") / "workspace")
    spec = {"name": "t", "model": str(codi_folder), "problems": "generated:40", "layers": "all",
            "positions": "thoughts", "test_problems": "generated:8"}  # fmt: skip
    capture(spec, workspace.activations_folder("t"), "cpu", Silent())
    return workspace


def test_without_activations_the_ways_to_some_are_shown(open_page, workspace):
    at = open_page("data", workspace)
    assert not at.exception
    assert "No activations yet" in words(at)


def test_what_activations_are(open_page, trained):
    at = open_page("data", trained)
    assert not at.exception
    manifest = Workspace(trained).activations()[0]
    shown = dict(zip(*(at.table[0].value[column] for column in at.table[0].value), strict=True))
    assert shown["Shape"] == f"{N} rows × {manifest['d_in']} dimensions, float32"
    assert shown["Split"] == "train 160, validation 40"
    assert "133 right, 67 wrong" in words(at)
    x = np.load(trained / "activations" / "rows" / "activations.npy").astype(float)
    tiles = {metric.label: metric.value for metric in at.metric}
    assert float(tiles["Total variance"].replace(",", "")) == pytest.approx(x.var(0).sum(), abs=0.01)
    assert float(tiles["Size of the mean"].replace(",", "")) == pytest.approx(np.linalg.norm(x.mean(0)), abs=0.01)
    assert not at.warning
    assert len(at.get("plotly_chart")) == 1


def test_a_near_constant_slice_is_warned_about(open_page, copied):
    path = copied.activations_folder("rows") / "activations.npy"
    x = np.load(path)
    np.save(path, (x * 1e-4 + 3).astype(np.float32))
    at = open_page("data", copied)
    assert "Near" in at.warning[0].value


def test_broken_activations_are_one_line(open_page, copied):
    (copied.activations_folder("rows") / "activations.npy").write_bytes(b"no array")
    at = open_page("data", copied)
    assert not at.exception
    assert len(at.error) == 1
    assert "Traceback" not in words(at)


def test_problems_are_searched_and_one_is_opened(open_page, trained):
    at = open_page("data", trained, show="problems", q="apples 17", of_split="validation", example="4")
    assert not at.exception
    shown = at.dataframe[0].value
    # 169 is found by its answer, 170.
    assert list(shown["example"]) == [i for i in range(4, N, 5) if "17" in f"{i} {i + 1} {i if i % 3 == 0 else i + 1}"]
    assert set(at.dataframe[0].value["split"]) == {"validation"}
    texts = [text.value for text in at.text]
    assert "Ann has 4 apples and gets more. How many has she?" in texts
    assert "4+1 = 5\n4+2 = 6" in texts


def test_problems_by_steps_and_by_right_and_wrong(trained):
    activations = Workspace(trained).open_activations("rows")
    table = data_view.problems_table(activations)
    assert len(table) == N
    wrong = data_view.chosen_problems(table, right="wrong")
    assert (wrong["example"] % 3 == 0).all() and len(wrong) == 67
    assert len(data_view.chosen_problems(table, steps="2", right="right")) == sum(i % 3 == 1 for i in range(N))


def test_a_problem_that_is_not_there_is_said(open_page, trained):
    at = open_page("data", trained, show="problems", example="999")
    assert not at.exception
    assert "999" in at.warning[0].value


def test_a_capture_is_queued(open_page, workspace, no_supervisor):
    at = open_page("data", workspace, show="capture", layers="3, 5", many="7")
    assert not at.exception
    next(button for button in at.button if button.label == "Capture").click().run()
    assert not at.exception and not at.error
    (job,) = Workspace(workspace).jobs.all()
    assert (job.kind, job.spec["layers"], job.spec["problems"]) == ("capture", [3, 5], "generated:7")
    assert no_supervisor


def test_a_capture_with_bad_layers_is_refused_in_one_line(open_page, workspace, no_supervisor):
    at = open_page("data", workspace, show="capture", layers="three")
    next(button for button in at.button if button.label == "Capture").click().run()
    assert len(at.error) == 1 and "three" in at.error[0].value
    assert Workspace(workspace).jobs.all() == []


def test_a_capture_of_thoughts_is_queued(open_page, workspace, codi_folder, no_supervisor):
    at = open_page(
        "data", workspace, show="capture", model=str(codi_folder), thought_layers="0", thought_steps="1-3", many="9",
        test_problems="generated:4:unseen-numbers", name="t",
    )  # fmt: skip
    assert not at.exception
    # The model answers by itself, and its question is all that it reads.
    assert not at.toggle and "Text" not in [group.label for group in at.get("button_group")]
    next(button for button in at.button if button.label == "Capture").click().run()
    assert not at.exception and not at.error
    (job,) = Workspace(workspace).jobs.all()
    asked = {"positions": "thoughts", "layers": [0], "steps": [1, 2, 3], "final_norm": "before", "dtype": "float16"}
    assert asked.items() <= job.spec.items()
    assert job.spec["problems"] == "generated:9" and job.spec["test_problems"] == "generated:4:unseen-numbers"


def test_what_captured_thoughts_are(open_page, thoughts):
    activations = thoughts.open_activations("t")
    at = open_page("data", thoughts, layer="1", position="3")
    assert not at.exception and not at.error
    said = words(at).replace("\\", "")
    assert "position 0 is BOT, 1 to 5 are the thoughts z1 to z5" in said
    assert "training target of this model" in said
    assert "of 48 problems right" in said
    names, values = (at.table[0].value[column] for column in at.table[0].value)
    shown = {name: text.replace("\\", "") for name, text in zip(names, values, strict=True)}
    assert shown["Read at"] == "BOT, z1, z2, z3, z4, z5, z6 (continuous thoughts)"
    assert shown["Layers"] == "0, 1 of 2 (residual stream after the block, before the final norm)"
    assert "test 8" in shown["Split"] and "8" in shown["Test problems"]
    assert at.selectbox(key="position").options[3] == "3 (z3)"
    table = next(d.value for d in at.dataframe if "Layer" in d.value)
    assert list(table) == ["Layer", "0 BOT", "1 z1", "2 z2", "3 z3", "4 z4", "5 z5", "6 z6"]
    x = activations.slice(1, 3).x.astype(float)
    share = x.var(0).sum() / (x**2).sum(1).mean()
    assert table["3 z3"][1] == f"{100 * share:.1f} %"


def test_near_constant_slices_of_thoughts_are_named(thoughts):
    table = thought_overview.slices(thoughts.open_activations("t"))
    assert thought_overview.near_constant(table.assign(near_constant=False)) == ""
    table["near_constant"] = [place == 0 for place in range(len(table))]
    assert thought_overview.near_constant(table).startswith("Near-constant: layer 0, position 0 (BOT).")
    assert "near-constant" in thought_overview.by_layer_and_step(table)["0 BOT"][0]


def test_problems_of_thoughts_show_what_each_step_reads_as(open_page, thoughts):
    at = open_page("data", thoughts, show="problems", example="2")
    assert not at.exception
    (drawn,) = [one for one in at.get("bidi_component") if one.proto.component_name == "sae_thought_steps"]
    line = thoughts.open_activations("t").examples.iloc[2]
    first = json.loads(line["thoughts"])[0][0][0]
    steps = json.loads(drawn.proto.json)["steps"]
    assert [step["name"] for step in steps] == ["BOT", "z1", "z2", "z3", "z4", "z5", "z6"]
    assert steps[0]["words"][0]["word"] == first
    assert line["model_answer"] in [text.value for text in at.text] and ":gray[wrong]" in words(at)


def test_skipped_problems_are_listed(open_page, thoughts, tmp_path):
    import shutil

    shutil.copytree(thoughts.root, tmp_path / "own")
    own = Workspace(tmp_path / "own")
    path = own.activations_folder("t") / "manifest.json"
    write_json(path, {**read_json(path), "skipped": [{"example": 5, "tokens": 3, "reason": "no words"}]})
    at = open_page("data", own)
    assert not at.exception
    assert [one.label for one in at.expander if "skipped" in one.label] == ["1 problem was skipped"]


def test_the_cost_of_a_capture_of_thoughts(codi_folder):
    spec = {"name": "t", "model": str(codi_folder), "problems": "generated:30", "layers": "all", "steps": "0-2",
            "positions": "thoughts"}  # fmt: skip
    cost = estimate_capture(spec, "cpu")
    assert (cost["rows"], cost["bytes"]) == (30 * 2 * 3, 30 * 2 * 3 * 32 * 2) and cost["seconds"] > 0
    said = capture_form.cost_text(cost)
    assert said.startswith("30 problems, 2 layers × 3 steps: 180 rows of 32 dimensions in float16, **11.5 kB** on the")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "first"}, "last or all or thoughts"),
        ({"steps": "z1"}, "steps 'z1' can't be read"),
        ({"layers": "some"}, "layers 'some' can't be read"),
        ({"final_norm": "on"}, "before or after"),
        ({"text": "question+answer"}, "thoughts follow the question"),
        ({"dtype": "int8"}, "float16 or float32"),
        ({"positions": "last"}, "captured at the positions thoughts"),
        ({"name": "../t"}, "can't be used"),
    ],
)
def test_bad_captures_are_refused_before_they_are_queued(codi_folder, change, message):
    spec = {"name": "t", "model": str(codi_folder), "problems": "generated:3", "layers": "all", "positions": "thoughts"}
    assert checked(spec)["layers"] == "all"
    with pytest.raises(UserError, match=message):
        checked({**spec, **change})
    with pytest.raises(UserError, match="chosen for the positions thoughts alone"):
        checked({**spec, "model": "smollm2-135m", "positions": "last", "steps": "3"})


def test_import_takes_an_array_and_refuses_nan(open_page, workspace, tmp_path):
    x = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    np.save(tmp_path / "good.npy", x)
    x[3, 1] = np.nan
    np.save(tmp_path / "bad.npy", x)
    at = open_page("data", workspace, show="import")
    at.text_input(key="array_path").set_value(str(tmp_path / "bad.npy")).run()
    next(button for button in at.button if button.label == "Import").click().run()
    assert not at.exception
    assert len(at.error) == 1 and "NaN" in at.error[0].value
    assert Workspace(workspace).activations() == []
    at.text_input(key="array_path").set_value(str(tmp_path / "good.npy")).run()
    next(button for button in at.button if button.label == "Import").click().run()
    assert not at.error
    assert [manifest["name"] for manifest in Workspace(workspace).activations()] == ["good"]


@pytest.fixture(scope="module")
def terms(tmp_path_factory):
    """A workspace with the embedded terms of a small ontology. Not to be written to."""
    from sae.common.progress import Silent

    workspace = Workspace(tmp_path_factory.mktemp("terms") / "workspace")
    path = tmp_path_factory.mktemp("ontology") / "small.obo"
    path.write_text(OBO, encoding="utf-8")
    encoder = make_encoder(tmp_path_factory.mktemp("models") / "encoder")
    spec = {"name": "terms", "model": str(encoder), "problems": str(path), "positions": "pooled"}
    capture(spec, workspace.activations_folder("terms"), "cpu", Silent())
    return workspace


def test_what_embedded_terms_are(open_page, terms):
    at = open_page("data", terms.root)
    assert not at.exception and "7 concepts" in str(at.table[0].value)
    shown = data_view.facts(terms.open_activations("terms"))
    assert shown["Terms"] == "10 of 7 concepts, Human Phenotype Ontology hp/releases/2025-01-16"
    assert (
        shown["Read at"].startswith("mean over the tokens of the last layer") and "Euclidean norm" in shown["Read at"]
    )
    assert shown["Licence of the terms"] == "https://hpo.jax.org/app/license" and "Layers" not in shown
    assert "'asd' names 2 concepts" in shown["Not read"] and shown["Split by"].startswith("group")


def test_terms_are_browsed_by_their_concepts(open_page, terms):
    at = open_page("data", terms.root, show="problems", example="8")
    assert not at.exception
    said = words(at)
    assert "10 of 10 terms" in said and "Term 8, " in said and "Question" not in said
    assert "**Steps**" not in said and "answer" not in said.lower()
    table = at.dataframe[0].value
    assert table["concept_name"].tolist()[7:] == ["Odd skull", "Odd skull", "Odder skull"]
    assert "n_steps" not in table and "final_answer" not in table
    labels = next(text.value for text in at.text if "concept_name" in text.value)
    assert "categories: Abnormality of the skeleton, Abnormality of the nervous system" in labels
    at = open_page("data", terms.root, show="problems", q="nervous odd skulls")
    assert at.dataframe[0].value["question"].tolist() == ["Odd skulls"]  # the branch is in its categories


def test_terms_and_means_are_offered_where_their_packages_are(open_page, workspace, no_supervisor, monkeypatch):
    monkeypatch.setattr("sae.problems.concepts.find_spec", lambda name: None)
    at = open_page("data", workspace, show="capture")
    assert not any("HPO" in str(option) for box in at.selectbox for option in box.options)
    monkeypatch.setattr("sae.problems.concepts.find_spec", lambda name: object())
    at = open_page("data", workspace, show="capture", model="minilm", problems="hpo", name="hpo", limit="50")
    assert not at.exception and not at.toggle
    labels = {field.label for field in at.text_input}
    assert "Layers" not in labels and "Test problems" not in labels
    next(button for button in at.button if button.label == "Capture").click().run()
    assert not at.exception and not at.error
    (job,) = Workspace(workspace).jobs.all()
    asked = {
        "model": "minilm",
        "problems": "hpo",
        "positions": "pooled",
        "layers": None,
        "limit": 50,
        "dtype": "float32",
    }
    assert asked.items() <= job.spec.items()


def test_the_cost_of_means():
    cost = {"examples": 10, "skipped": 0, "layers": None, "steps": None, "rows": 10, "d_in": 32, "dtype": "float32",
            "bytes": 1280, "seconds": None, "cut": None}  # fmt: skip
    assert capture_form.cost_text(cost).startswith("10 problems, a row each: 10 rows of 32 dimensions")
    pieces = {**cost, "cut": {"context": 16, "documents": 1}}
    assert capture_form.cost_text(pieces).startswith("10 pieces of 1 text, a row each")


def test_a_capture_of_texts_is_queued(open_page, workspace, no_supervisor, tmp_path):
    (tmp_path / "book.txt").write_text("Once.")
    at = open_page(
        "data", workspace, show="capture", problems="texts", problems_path=str(tmp_path / "book.txt"), tokens="5,000",
        name="book",
    )  # fmt: skip
    assert not at.exception and not at.toggle
    fields = {field.label: field.value for field in at.text_input}
    assert fields["Context"] == "128" and "Test problems" not in fields
    assert "Text" not in [group.label for group in at.get("button_group")]
    next(button for button in at.button if button.label == "Capture").click().run()
    assert not at.exception and not at.error
    (job,) = Workspace(workspace).jobs.all()
    asked = {"problems": str(tmp_path / "book.txt"), "positions": "all", "context": 128, "tokens": 5000}
    assert asked.items() <= job.spec.items()


def test_a_text_set_needs_a_name_and_whole_numbers(open_page, workspace, no_supervisor):
    at = open_page("data", workspace, show="capture", problems="hub", name="h")
    next(button for button in at.button if button.label == "Capture").click().run()
    assert len(at.error) == 1 and "OWNER/NAME" in at.error[0].value
    at = open_page("data", workspace, show="capture", problems="hub", hub="a/b", context="many", name="h")
    next(button for button in at.button if button.label == "Capture").click().run()
    assert len(at.error) == 1 and "context 'many'" in at.error[0].value
    assert Workspace(workspace).jobs.all() == []


def test_problems_may_be_cut(open_page, workspace, no_supervisor):
    at = open_page("data", workspace, show="capture", context="64", many="7", name="c")
    assert not at.toggle  # a piece of a problem asks nothing
    next(button for button in at.button if button.label == "Capture").click().run()
    assert not at.exception and not at.error
    (job,) = Workspace(workspace).jobs.all()
    assert job.spec["context"] == 64 and "tokens" not in job.spec


def test_what_cut_texts_are(open_page, tmp_path):
    from sae.common.progress import Silent
    from tests.language_models import tiny

    model = tiny.make(tmp_path / "model")
    (tmp_path / "book.txt").write_text("  ".join(tiny.TEXTS) * 4)
    workspace = Workspace(tmp_path / "w")
    spec = {"name": "b", "model": str(model), "problems": str(tmp_path / "book.txt"), "layers": "1", "positions": "all",
            "context": 32}  # fmt: skip
    capture(spec, workspace.activations_folder("b"), "cpu", Silent())
    said = data_view.facts(workspace.open_activations("b"))
    assert said["Texts"].startswith("text 1 ") and "pieces of at most 32 tokens, of 1 document; there is" in said["Cut"]
    at = open_page("data", workspace.root, show="problems")
    assert not at.exception and any("pieces. Tick one" in caption.value for caption in at.caption)
