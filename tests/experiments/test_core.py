"""Core as a measurement on thoughts of a tiny model, against thinking about each problem by hand; what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae.common.errors import UserError
from sae.common.progress import Silent
from sae.experiments.core import CORE, measure
from sae.experiments.measurement import Case
from sae.experiments.texts import read_texts
from sae.language_models.codi.model import Codi
from sae.workspace import Workspace
from tests.experiments.test_patching import LAYER, STEP, case_of, sae, thinking_codi
from tests.workspace import thoughts


@pytest.fixture(scope="module")
def codi(tmp_path_factory: pytest.TempPathFactory) -> Codi:
    return thinking_codi(tmp_path_factory.mktemp("codi") / "tiny-codi")


@pytest.fixture(scope="module")
def case(codi: Codi, tmp_path_factory: pytest.TempPathFactory) -> Case:
    workspace = Workspace(tmp_path_factory.mktemp("w") / "workspace")
    thoughts.put_thoughts(workspace, codi, dtype="float32")
    return case_of(workspace, codi, sae())


def test_thoughts_are_replaced_in_the_model_that_thought_them(case: Case, codi: Codi) -> None:
    found = measure(case, CORE.settings_of({"resamples": 50, "batch": 7}), Silent())
    (result,) = found.results
    assert (result["split"], result["n"], found.notes["n_texts"]) == ("validation", 18, 18)
    piece = case.slice
    mean = torch.from_numpy(np.asarray(piece.x[piece.train_rows], np.float64).mean(0).astype(np.float32))
    states = {"sae": case.model, "mean": lambda h: mean.expand_as(h), "zero": torch.zeros_like}
    kl: dict[str, list[torch.Tensor]] = {name: [] for name in states}
    ce: dict[str, list[torch.Tensor]] = {name: [] for name in ("clean", *states)}
    for example in piece.rows["example"].to_numpy()[piece.validation_rows]:
        line = case.activations.examples.iloc[example]
        question = codi.encode([line["question"]])
        answer = codi.tokenizer([f"The answer is: {int(line['final_answer'])}"])["input_ids"][0]
        answer = [*answer, codi.tokenizer.eos_token_id]

        def read(edit: Any, question: Any = question, answer: Any = answer) -> torch.Tensor:
            with torch.no_grad():
                there = codi.think(question, edit=edit, edited_layers=[LAYER] if edit else [])
                return codi.continue_with(there, [answer[:-1]])[0].double().log_softmax(-1)

        clean = read(None)
        ce["clean"].append(-clean[range(len(answer)), answer])
        for name, state in states.items():
            there = read(lambda step, layer, h, state=state: state(h) if step == STEP else h)
            kl[name].append((clean.exp() * (clean - there)).sum(-1))
            ce[name].append(-there[range(len(answer)), answer])
    for name, values in kl.items():
        assert result["metrics"][f"kl_{name}"] == pytest.approx(float(torch.cat(values).mean()), rel=2e-2, abs=2e-6)
    for name, values in ce.items():
        assert result["metrics"][f"ce_{name}"] == pytest.approx(float(torch.cat(values).mean()), rel=1e-4)
    assert result["metrics"]["kl_zero"] > 1e-5 and found.notes["is_read"]


def test_what_is_refused(case: Case, tmp_path: Path) -> None:
    settings = CORE.settings_of({})
    with pytest.raises(UserError, match="leave out table and model"):
        measure(case, {**settings, "table": "x.jsonl"}, Silent())
    other = thoughts.tiny_codi(tmp_path / "other")
    with pytest.raises(UserError, match="they come from another model or other weights"):
        measure(replace(case, language_model=lambda: other), settings, Silent())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": 3}\n', "line 1 of 'a.jsonl' .counted from 0. has no text"),
        ("a.jsonl", "{", "line 0 of 'a.jsonl' .counted from 0. is not JSON"),
        ("a.jsonl", "\n", "holds no text"),
        ("a.csv", "words\nx\n", "no column text or question"),
        ("a.csv", "text,n\nx,1\n,2\n", "line 1 of 'a.csv' .counted from 0."),
        ("a.parquet", "no", "can't be read"),
        ("a.txt", "x", "give a .jsonl, .csv or .parquet file"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said):
        read_texts(str(tmp_path / name))


def test_a_table_of_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "one"}\n\n{"text": "two", "question": "no"}\n')
    assert read_texts(str(tmp_path / "a.jsonl")) == ["one", "two"]
    with pytest.raises(UserError, match="is not a file that is here"):
        read_texts(str(tmp_path / "b.jsonl"))
