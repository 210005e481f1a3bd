"""A capture put together from shards against one capture: the same bytes, also where a shard was stopped midway."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sae.capture import capture_language_model, capture_thoughts
from sae.capture.shards import Shards, fill_shard, fill_thoughts_shard
from sae.common.errors import Cancelled, UserError
from sae.common.progress import Silent
from sae.language_models import LanguageModel, load
from sae.problems import generate
from tests.language_models import tiny
from tests.language_models.codi import tiny as tiny_codi


class StopAfter:
    """Cancels at the n-th different report of a stage."""

    def __init__(self, stage: str, reports: int) -> None:
        self.stage, self.left, self.last = stage, reports, -1.0

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        if stage.startswith(self.stage) and done != self.last:
            self.last = done
            self.left -= 1
            if self.left < 0:
                raise Cancelled


def hashes(folder: Path) -> dict[str, str]:
    names = ("activations.npy", "rows.parquet", "examples.parquet")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(str(tiny.make(tmp_path_factory.mktemp("models") / "llama")))


@pytest.fixture
def examples() -> pd.DataFrame:
    texts = [f"{text} Part {part}." for part in range(3) for text in tiny.TEXTS]
    return pd.DataFrame({"question": texts, "final_answer": [float(n) for n in range(len(texts))]})


CHOICES: dict[str, Any] = {"layers": [2, 0], "positions": "all", "batch_size": 2}


def test_three_shards_give_the_bytes_of_one_capture(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae.capture.capturing.ANSWERS_AT_ONCE", 4)
    monkeypatch.setattr("sae.capture.answers.MAX_NEW_TOKENS", 4)
    one = capture_language_model(model, examples, tmp_path / "one" / "a", name="a", answers=True, **CHOICES)
    folders = [tmp_path / f"shard-{number}" for number in range(3)]
    with pytest.raises(Cancelled):
        fill_shard(model, examples, folders[1], (1, 3), answers=True, progress=StopAfter("capturing", 2), **CHOICES)
    kept = {path.name: path.stat().st_mtime_ns for path in folders[1].glob("states-*")}
    assert len(kept) == 2
    for number, folder in enumerate(folders):
        fill_shard(model, examples, folder, (number, 3), answers=True, progress=Silent(), **CHOICES)
    for name, modified in kept.items():  # read once
        assert (folders[1] / name).stat().st_mtime_ns == modified
    read = [path.name for folder in folders for path in folder.glob("states-*")]
    assert len(set(read)) == len(read) >= len(examples) / 2
    # What the shards hold is not computed again.
    with monkeypatch.context() as patch:
        patch.setattr(model, "reader", None)
        patch.setattr(model, "answer_batches", None)
        merged = capture_language_model(
            model, examples, tmp_path / "merged" / "a", name="a", answers=True, shards=Shards(folders), **CHOICES
        )
    assert hashes(merged.folder) == hashes(one.folder)
    assert merged.manifest["sha256"] == one.manifest["sha256"] and merged.manifest["spec"] == one.manifest["spec"]
    assert merged.manifest["compute"] == {**one.manifest["compute"], "shards": 3}


def test_two_shards_of_thoughts_give_the_bytes_of_one_capture(tmp_path: Path) -> None:
    codi, problems = tiny_codi.codi(), generate(17, 3).table()
    choices: dict[str, Any] = {"layers": [0, 1], "steps": [0, 2], "dtype": "float16", "batch_size": 3}
    one = capture_thoughts(codi, problems, tmp_path / "one" / "a", name="a", **choices)
    folders = [tmp_path / "s0", tmp_path / "s1"]
    for number, folder in enumerate(folders):
        fill_thoughts_shard(codi, problems, folder, (number, 2), progress=Silent(), **choices)
    merged = capture_thoughts(codi, problems, tmp_path / "two" / "a", name="a", shards=Shards(folders), **choices)
    assert hashes(merged.folder) == hashes(one.folder)


def test_shards_of_something_else_or_too_few_are_refused(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path
) -> None:
    for number in range(2):
        fill_shard(model, examples, tmp_path / f"s{number}", (number, 2), progress=Silent(), **CHOICES)
    both = [tmp_path / "s0", tmp_path / "s1"]
    other = {**CHOICES, "layers": [1]}
    with pytest.raises(UserError, match="changed while"):
        capture_language_model(model, examples, tmp_path / "a", name="a", shards=Shards(both), **other)
    with pytest.raises(UserError, match="no shard has states-"):
        capture_language_model(model, examples, tmp_path / "a", name="a", shards=Shards(both[:1]), **CHOICES)
    # A shard of another capture starts over.
    fill_shard(model, examples, both[0], (0, 2), progress=Silent(), **other)
    with pytest.raises(UserError, match="changed while"):
        capture_language_model(model, examples, tmp_path / "a", name="a", shards=Shards(both), **CHOICES)


def test_values_that_the_dtype_can_not_hold_are_refused_by_the_shard(
    model: LanguageModel, examples: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sae.capture.shards as shards

    def large(*arguments: Any) -> Any:
        for states in read(*arguments):
            yield {layer: values * 1e6 for layer, values in states.items()}

    read = shards.read_batches
    monkeypatch.setattr(shards, "read_batches", large)
    with pytest.raises(UserError, match="can't hold at example .*: take float32"):
        fill_shard(model, examples, tmp_path / "s", (0, 1), dtype="float16", progress=Silent(), **CHOICES)
