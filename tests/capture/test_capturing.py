"""Captures: rows against states computed one text at a time, order, splits, resuming after a kill, refusals."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sae.capture import Activations, capture_language_model, capturing, estimate
from sae.common.errors import Cancelled, UserError
from sae.language_models import LanguageModel, load
from tests.language_models import tiny


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def model(model_folder: Path) -> LanguageModel:
    return load(str(model_folder))


@pytest.fixture
def examples() -> pd.DataFrame:
    n = len(tiny.TEXTS)
    return pd.DataFrame(
        {
            "question": tiny.TEXTS,
            "answer": [f"It is <<{i}+1={i + 1}>>{i + 1}.\n#### {i + 1}" for i in range(n)],
            "final_answer": np.arange(n) + 1.0,
            "theme": ["a", "b"] * (n // 2) + ["c"] * (n % 2),
        }
    )


def _states(model: LanguageModel, text: str, layer: int) -> np.ndarray:
    """The state after a block at each token of one text alone, as transformers gives it, without the BOS."""
    ids = model.tokenizer(text)["input_ids"]
    with torch.inference_mode():
        found = model.model(torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
    return found[layer + 1][0, 1:].numpy()


class Stop:
    """Cancels when the n-th batch of the given stages is done."""

    def __init__(self, at: int, stages: tuple[str, ...] = ("capturing", "answers")) -> None:
        self.at = at
        self.stages = stages
        self.seen: set[tuple[str, float]] = set()

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        if stage.startswith(self.stages):
            self.seen.add((stage, done))
            if len(self.seen) > self.at:
                raise Cancelled


def _sha256(folder: Path) -> dict[str, str]:
    """Of everything that a capture writes but the manifest, which has a date."""
    names = ("activations.npy", "rows.parquet", "examples.parquet")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_last_tokens_of_two_layers(model: LanguageModel, examples: pd.DataFrame, tmp_path: Path) -> None:
    made = capture_language_model(
        model,
        examples,
        tmp_path / "a",
        name="a",
        layers=[2, 0],
        dtype="float32",
        batch_size=3,
        problems_source={"name": "tiny"},
    )
    n = len(examples)
    assert (made.n_rows, made.d_in, made.manifest["layers"]) == (2 * n, tiny.D_MODEL, [0, 2])
    assert [s.title for s in made.slices] == ["layer 0", "layer 2"]
    for layer in (0, 2):
        piece = made.slice(layer=layer)
        assert piece.rows["example"].tolist() == list(range(n)) and set(piece.rows["layer"]) == {layer}
        for number, text in enumerate(tiny.TEXTS):
            np.testing.assert_allclose(piece.x[number], _states(model, text, layer)[-1], rtol=1e-4, atol=1e-4)
            row = piece.rows.iloc[number]
            assert text.endswith(text[row["char_start"] : row["char_end"]]) and row["char_end"] == len(text)
    with pytest.raises(UserError, match="2 slices: choose one of layer 0; layer 2"):
        made.slice()
    assert made.manifest["sha256"] == hashlib.sha256((tmp_path / "a" / "activations.npy").read_bytes()).hexdigest()
    assert made.manifest["model"]["sha256"]["model.safetensors"] and made.manifest["problems"] == {"name": "tiny"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "activations.npy",
        "examples.parquet",
        "manifest.json",
        "rows.parquet",
    ]
    assert made.examples["theme"].tolist() == examples["theme"].tolist()


@pytest.mark.parametrize("text", ["question", "question+answer"])
def test_all_tokens_in_order_with_their_characters(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path, text: str
) -> None:
    made = capture_language_model(
        model, examples, tmp_path / "a", name="a", layers=[1], positions="all", text=text, dtype="float16"
    )
    row = 0
    rows = made.rows
    for number in range(len(examples)):
        source = made.text(number)
        assert source == (
            examples["question"][number]
            if text == "question"
            else f"{examples['question'][number]}\n{examples['answer'][number]}"
        )
        expected = _states(model, source, 1)
        offsets = model.tokenizer(source, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        here = rows.iloc[row : row + len(expected)]
        assert (here["example"] == number).all() and here["token"].tolist() == list(range(len(expected)))
        assert list(zip(here["char_start"], here["char_end"], strict=True)) == offsets
        stored = made.array[row : row + len(expected)]
        assert stored.dtype == np.float16
        np.testing.assert_allclose(stored, expected.astype(np.float16), rtol=2e-3, atol=2e-3)
        row += len(expected)
    assert row == made.n_rows == made.slice().stop
    assert {name: str(kind) for name, kind in rows.dtypes.items() if name != "split"} == {
        "example": "int32",
        "layer": "int16",
        "token": "int32",
        "char_start": "int32",
        "char_end": "int32",
    }


def test_the_estimate_is_what_comes(model: LanguageModel, examples: pd.DataFrame, tmp_path: Path) -> None:
    guess = estimate(model, examples, layers=[0, 1], positions="all", dtype="float16")
    made = capture_language_model(model, examples, tmp_path / "a", name="a", layers=[0, 1], positions="all")
    assert guess.rows == made.n_rows and guess.bytes == made.array.nbytes
    assert guess.seconds is not None and guess.seconds > 0
    assert estimate(model, examples, layers=[0], measure=False).seconds is None


def test_texts_beyond_the_context_are_reported(tmp_path: Path, examples: pd.DataFrame) -> None:
    short = load(str(tiny.make(tmp_path / "model", context=24)))
    lengths = [len(short.tokenizer(text)["input_ids"]) for text in tiny.TEXTS]
    fitting = [number for number, length in enumerate(lengths) if length <= 24]
    assert 0 < len(fitting) < len(lengths)
    made = capture_language_model(short, examples, tmp_path / "a", name="a", layers=[0])
    assert made.rows["example"].tolist() == fitting and made.n_examples == len(examples)
    assert [s["example"] for s in made.manifest["skipped"]] == [n for n in range(len(lengths)) if n not in fitting]
    assert made.manifest["skipped"][0]["tokens"] == lengths[made.manifest["skipped"][0]["example"]]
    with pytest.raises(UserError, match="none of the 1 texts can be read"):
        capture_language_model(short, examples.iloc[-1:], tmp_path / "b", name="b", layers=[0])
    assert not (tmp_path / "b").exists()


def test_the_same_again_returns_it_and_another_spec_is_refused(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"name": "a", "layers": [1]}
    capture_language_model(model, examples, tmp_path / "a", **common)
    before = (tmp_path / "a" / "activations.npy").stat().st_mtime_ns
    again = capture_language_model(model, examples, tmp_path / "a", **common, batch_size=1)
    assert (again.folder / "activations.npy").stat().st_mtime_ns == before
    for other, what in (
        ({"layers": [2]}, "layers"),
        ({"dtype": "float32"}, "dtype"),
        ({"positions": "all"}, "positions"),
    ):
        with pytest.raises(UserError, match=f"with other {what}"):
            capture_language_model(model, examples, tmp_path / "a", **{**common, **other})
    with pytest.raises(UserError, match="with other examples"):
        capture_language_model(model, examples.iloc[:3], tmp_path / "a", **common)


def test_cancelled_and_resumed_gives_the_same_bytes(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"layers": [0, 3], "positions": "all", "batch_size": 2}
    capture_language_model(model, examples, tmp_path / "whole", name="whole", **common)
    for at in (0, 1, 2, 3):
        with pytest.raises(Cancelled):
            capture_language_model(model, examples, tmp_path / "a", name="a", **common, progress=Stop(at % 3))
        state = json.loads((tmp_path / ".a.partial" / "state.json").read_text())
        assert not (tmp_path / "a").exists()
    assert state["batches"] == 3
    with pytest.raises(UserError, match=r"unfinished capture 'a' has other dtype.*\.a\.partial"):
        capture_language_model(model, examples, tmp_path / "a", name="a", **common, dtype="float32")
    # The batches of the first start count, not those of the call that goes on.
    capture_language_model(model, examples, tmp_path / "a", name="a", **{**common, "batch_size": 5})
    assert _sha256(tmp_path / "a") == _sha256(tmp_path / "whole")
    assert not (tmp_path / ".a.partial").exists()


KILLED = """
import sys
from pathlib import Path
import pandas as pd
from sae.capture import capture_language_model, filling
from sae.language_models import load
filling._SAVE_SECONDS = 0.0
model_folder, folder = sys.argv[1:]
class Slow:
    def update(self, done, total, stage="", **figures):
        print(stage, done, flush=True)
        if stage.startswith("capturing") and len(sys.argv) == 3:
            import time
            time.sleep(0.05)
examples = pd.read_parquet(Path(folder).parent / "examples.parquet")
capture_language_model(load(model_folder), examples, Path(folder), name=Path(folder).name, layers=[1, 2],
                       positions="all", batch_size=2, answers=True, progress=Slow())
"""


def test_killed_and_resumed_gives_the_same_bytes(
    model_folder: Path, examples: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = pd.concat([examples] * 4, ignore_index=True)
    many.to_parquet(tmp_path / "examples.parquet")
    command = [sys.executable, "-c", KILLED, str(model_folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([*command, str(tmp_path / "a")], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        seen = set()
        for line in process.stdout:
            if line.startswith("capturing"):
                seen.add(line)
            if len(seen) == 6:
                os.kill(process.pid, signal.SIGKILL)
                break
    state = json.loads((tmp_path / ".a.partial" / "state.json").read_text())
    assert 3 <= state["batches"] <= 6
    rewritten = hashlib.sha256((tmp_path / ".a.partial" / "activations.npy").read_bytes()).hexdigest()
    monkeypatch.setattr(capturing.own_answers, "MAX_NEW_TOKENS", 6)
    monkeypatch.setattr(capturing, "ANSWERS_AT_ONCE", 5)
    model = load(str(model_folder))
    common: dict[str, Any] = {"layers": [1, 2], "positions": "all", "batch_size": 2, "answers": True}
    # Once more stopped, now among the answers.
    with pytest.raises(Cancelled):
        capture_language_model(model, many, tmp_path / "a", name="a", **common, progress=Stop(2, stages=("answers",)))
    journal = tmp_path / ".a.partial" / "answers.jsonl"
    with open(journal, "a") as file:
        file.write('["cut off')
    made = capture_language_model(model, many, tmp_path / "a", name="a", **common)
    whole = capture_language_model(model, many, tmp_path / "whole", name="whole", **common)
    assert _sha256(tmp_path / "a") == _sha256(tmp_path / "whole")
    assert made.manifest["sha256"] == whole.manifest["sha256"] != rewritten


def test_answers_are_the_models_own_and_judged(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing.own_answers, "MAX_NEW_TOKENS", 6)
    written = {
        f"<s>Question: {text}\nAnswer:": f"so it is {n + (n != 2)}.\nQuestion: 9?" for n, text in enumerate(tiny.TEXTS)
    }
    asked: list[str] = []

    def answers(batches: list[list[str]], **how: Any) -> Any:
        for batch in batches:
            asked.extend(batch)
            yield [written[prompt] for prompt in batch]

    monkeypatch.setattr(model, "answer_batches", answers)
    made = capture_language_model(model, examples, tmp_path / "a", name="a", layers=[0], answers=True)
    assert sorted(asked) == sorted(written)
    assert made.examples["model_answer"].tolist() == [f"so it is {n + (n != 2)}." for n in range(len(examples))]
    assert made.examples["correct"].tolist() == [n != 2 for n in range(len(examples))]
    assert made.examples["correct"].dtype == bool
    assert made.manifest["answers"]["prompt"].startswith("Question:")
    assert made.manifest["answers"]["accuracy"] == pytest.approx(6 / 7)


def test_answers_without_a_reference_are_refused(model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="example 0 has no final answer"):
        capture_language_model(
            model, pd.DataFrame({"question": ["Why?"]}), tmp_path / "a", name="a", layers=[0], answers=True
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../a"}, "can't be used"),
        ({"name": "b"}, "must end in"),
        ({"layers": [4]}, "layers 0 to 3"),
        ({"layers": []}, "no layer"),
        ({"positions": "first"}, "last or all"),
        ({"text": "answer"}, "question or question\\+answer"),
        ({"dtype": "int8"}, "float16 or float32"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_bad_arguments(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"name": "a", "layers": [0], **change}
    with pytest.raises(UserError, match=message):
        capture_language_model(model, examples, tmp_path / "a", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_bad_examples(model: LanguageModel, examples: pd.DataFrame, tmp_path: Path) -> None:
    for table, text, message in (
        (examples.iloc[:0], "question", "no examples"),
        (examples[["answer"]], "question", "no column 'question'"),
        (examples[["question"]], "question+answer", "no column 'answer'"),
        (examples.assign(split="dev"), "question", "split 'dev'"),
        (examples.assign(question=""), "question", "none of the 7 texts"),
    ):
        with pytest.raises(UserError, match=message):
            capture_language_model(model, table, tmp_path / "a", name="a", layers=[0], text=text)
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_float16_are_refused_and_nothing_is_in_the_way(
    model_folder: Path, examples: pd.DataFrame, tmp_path: Path
) -> None:
    model = load(str(model_folder))
    with torch.no_grad():
        model.model.model.layers[0].mlp.down_proj.weight.mul_(1e7)
    with pytest.raises(UserError, match="float16 can't hold at example .*: take float32"):
        capture_language_model(model, examples, tmp_path / "a", name="a", layers=[0])
    assert list(tmp_path.iterdir()) == []
    made = capture_language_model(model, examples, tmp_path / "a", name="a", layers=[0], dtype="float32")
    assert np.isfinite(made.array).all() and np.abs(made.array).max() > 65504
    with torch.no_grad():
        model.model.model.layers[0].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="NaN or Inf"):
        capture_language_model(model, examples, tmp_path / "b", name="b", layers=[0], dtype="float32")


def test_a_full_disk_is_said_before_starting(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(UserError, match="are free on the disk"):
        capture_language_model(model, examples, tmp_path / "a", name="a", layers=[0])
    assert not (tmp_path / "a").exists()


def test_two_processes_never_make_the_same_name(model: LanguageModel, examples: pd.DataFrame, tmp_path: Path) -> None:
    from filelock import FileLock

    with FileLock(tmp_path / ".a.lock"), pytest.raises(UserError, match="another process"):
        capture_language_model(model, examples, tmp_path / "a", name="a", layers=[0])


def test_rows_do_not_depend_on_the_number_of_cores(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            capture_language_model(
                model, examples, tmp_path / str(threads), name=str(threads), layers=[2], positions="all", batch_size=2
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert _sha256(tmp_path / "1") == _sha256(tmp_path / "3")


def test_progress_says_how_far_and_how_fast(model: LanguageModel, examples: pd.DataFrame, tmp_path: Path) -> None:
    said: list[tuple[float, float, str, dict[str, Any]]] = []

    class Listen:
        def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
            said.append((done, total, stage, figures))

    started = time.monotonic()
    made = capture_language_model(
        model, examples, tmp_path / "a", name="a", layers=[0], batch_size=2, progress=Listen()
    )
    captured = [line for line in said if line[2].startswith("capturing")]
    assert [line[0] for line in captured] == sorted(line[0] for line in captured)
    assert captured[0][0] == 0 and captured[-1][0] == captured[-1][1] == made.manifest["tokens"]
    assert "rows_per_second" in captured[1][3]
    assert 0 < made.manifest["seconds"] < time.monotonic() - started + 1


def test_split_by_group_and_given_split(model: LanguageModel, examples: pd.DataFrame, tmp_path: Path) -> None:
    given = ["train", "test", "train", "validation", "train", "train", "test"]
    made = capture_language_model(
        model, examples.assign(split=given), tmp_path / "a", name="a", layers=[0], positions="all"
    )
    for split, rows in (
        ("train", made.slice().train_rows),
        ("validation", made.slice().validation_rows),
        ("test", made.slice().test_rows),
    ):
        there = set(made.rows["example"].iloc[rows])
        assert there == {number for number, value in enumerate(given) if value == split}
    assert made.examples["split"].tolist() == given
    assert isinstance(Activations.open(tmp_path / "a"), Activations)
