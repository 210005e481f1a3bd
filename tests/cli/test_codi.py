"""`codi train` and `codi evaluate`, from the command line to the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sae.cli.main import main
from sae.language_models.codi import card, loading
from sae.problems import generate, write_jsonl
from tests.language_models.codi import tiny


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of data/models, with a model and its control."""
    folder = tmp_path / "models"
    monkeypatch.setattr(loading, "FOLDER", folder)
    tiny.save(folder / loading.DEFAULT)
    tiny.save(folder / "codi-no-thoughts", "no-thoughts")
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["codi", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_takes_the_default_model_and_its_control(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "evaluate", "--generate", "6", "--seed", "4")
    assert found["model"] == loading.DEFAULT and found["n"] == 6
    assert set(found["accuracy"]) == {str(n) for n in range(7)}
    assert all(0 <= share <= 1 for share in [*found["accuracy"].values(), found["teacher"], found["no_latent"]])
    assert found["problems"]["numbers"] == "unseen" and found["problems"]["seed"] == 4
    assert found["control"] == "codi-no-thoughts" and found["no_latent_note"] is None
    assert said(capsys, "evaluate", "--generate", "6", "--phrasings", "unseen")["problems"]["phrasings"] == "unseen"


def test_evaluate_problems_of_a_file(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "problems.jsonl"
    write_jsonl(generate(3, 1), file)
    strange = {"question": "Zyx quaffs 3. How many?", "answer": "3\n#### 3"}
    file.write_text(file.read_text() + json.dumps(strange) + "\n")
    found = said(capsys, "evaluate", "--problems", str(file))
    assert (found["n"], found["skipped"]) == (3, 1)
    assert main(["codi", "evaluate", "--problems", str(file)]) == 0
    text = capsys.readouterr().out
    assert "1 problems skipped: words outside its vocabulary" in text and "control without thoughts" in text


def test_without_a_control_the_field_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = tiny.save(tmp_path / "alone" / "model", "supervised")
    found = said(capsys, "evaluate", "--model", str(alone), "--generate", "3")
    assert found["no_latent"] is None and "codi-no-thoughts" in found["no_latent_note"]
    assert main(["codi", "evaluate", "--model", str(alone), "--generate", "3"]) == 0
    text = capsys.readouterr().out
    assert "the layout of values over thoughts is a training target of this model" in text
    assert "no accuracy of a control" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--model", "nowhere"], "nowhere"),
        (["evaluate", "--generate", "0"], "at least|from 1"),
        (["evaluate", "--generate", "2", "--problems", "x.jsonl"], "give one of them"),
        (["evaluate", "--problems", "missing.jsonl"], "missing.jsonl"),
        (["train", "--kind", "odd", "--out", "x"], "odd"),
        (["train", "--kind", "pure", "--out", "x", "--lr", "0"], "lr 0.0"),
        (["train", "--kind", "pure", "--out", "x", "--export", "../x"], "--export"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    tiny.save(tmp_path / "models" / loading.DEFAULT)
    monkeypatch.setattr(loading, "FOLDER", tmp_path / "models")
    assert main(["codi", *words]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error:") and re.search(message, last)


def test_train_goes_on_and_exports(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sae.language_models.codi.trainer.LOOKED_AT", 4)
    monkeypatch.setattr("sae.language_models.codi.trainer.generator_words", lambda: list(tiny.words()))
    monkeypatch.setattr(card, "PARTS", {"unseen numbers": {"numbers": "unseen"}})
    monkeypatch.setattr(card, "N", 5)
    monkeypatch.setattr(card, "N_PROBED", 60)
    size = [
        "--d-model",
        "32",
        "--n-layers",
        "2",
        "--n-heads",
        "4",
        "--d-mlp",
        "48",
        "--d-projection",
        "24",
        "--batch-size",
        "8",
        "--no-bf16",
    ]
    words = ["train", "--kind", "supervised", "--out", str(tmp_path / "out"), "--export", "mine", "--seed", "3"]
    words += [*size, "--teacher-samples", "8", "--samples", "16"]
    first = said(capsys, *words)
    for folder in (tmp_path / "out" / "model", models / "mine"):
        assert {"codi.json", "model.safetensors", "tokenizer.json", "README.md", "training.json"} <= {
            path.name for path in folder.iterdir()
        }
    written = json.loads((models / "mine" / "training.json").read_text())
    assert written["config"]["seed"] == 3 and written["history"]
    assert "--seed 3" in written["command"] and "--export mine" in written["command"]
    text = (models / "mine" / "README.md").read_text()
    share = first["parts"]["unseen numbers"]["accuracy"]["6"]
    assert f"| As trained | {100 * share:.1f} %" in text
    assert "is a training target of this model" in text and written["command"] in text
    codi = loading.load("mine")
    assert codi.source["kind"] == "supervised" and codi.source["trained"]["samples"] == 16
    # Finished: the same command trains nothing, and writes the same model.
    before = (models / "mine" / "model.safetensors").read_bytes()
    assert said(capsys, *words)["parts"] == first["parts"]
    assert (models / "mine" / "model.safetensors").read_bytes() == before
