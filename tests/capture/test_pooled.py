"""Pooled captures: rows against one text at a time, resuming and shards to the same bytes, and from a spec."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae.capture import Activations, capture_pooled, estimate_pooled, slice_statistics
from sae.capture.shards import Shards, fill_pooled_shard
from sae.common.errors import Cancelled, UserError
from sae.common.progress import Silent
from sae.language_models.encoders import Encoder, load_encoder
from sae.workspace import captures
from tests.language_models.test_encoders import plain_mean
from tests.language_models.tiny import D_MODEL, TEXTS
from tests.language_models.tiny_encoder import make_encoder
from tests.problems.test_concepts import OBO


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("models") / "encoder", normalise=False)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load_encoder(str(folder))


@pytest.fixture
def examples() -> pd.DataFrame:
    short = ["One.", "Ana has 3 apples.", "", "Two and two are four.", "A train.", "Zoë paid €7.50.", "One more."]
    return pd.DataFrame({"question": [*short, " ".join(TEXTS)], "group": list("aabbccdd")})


def hashes(folder: Path) -> dict[str, str]:
    names = ("activations.npy", "rows.parquet", "examples.parquet")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


class StopAt:
    """Cancels once so many tokens are embedded."""

    def __init__(self, tokens: float) -> None:
        self.tokens = tokens

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        if stage.startswith("embedding") and done >= self.tokens:
            raise Cancelled


def test_one_row_a_text(encoder: Encoder, examples: pd.DataFrame, tmp_path: Path) -> None:
    made = capture_pooled(encoder, examples, tmp_path / "a", name="a", batch_size=3)
    assert made.array.shape == (6, D_MODEL) and made.array.dtype == np.float32
    assert made.rows["example"].tolist() == [0, 1, 3, 4, 5, 6]
    for row, example in enumerate(made.rows["example"]):
        np.testing.assert_allclose(made.array[row], plain_mean(encoder, examples["question"][example]), atol=1e-5)
    assert [(s.layer, s.position, s.stop) for s in made.slices] == [(None, None, 6)]
    assert set(made.rows.columns) == {"example", "split"}
    manifest = made.manifest
    assert manifest["model"]["pooling"]["normalised"] is False and manifest["positions"] == "pooled"
    assert [(line["example"], line["reason"]) for line in manifest["skipped"]] == [
        (2, "no words"),
        (7, "longer than the 32 tokens that the model reads"),
    ]
    # A group never stands on both sides.
    sides = made.rows.merge(examples["group"], left_on="example", right_index=True).groupby("group")["split"].nunique()
    assert sides.max() == 1 and set(made.rows["split"]) == {"train", "validation"}
    assert slice_statistics(made.slices[0])["total_variance"] > 0
    again = capture_pooled(encoder, examples, tmp_path / "a", name="a")
    assert again.manifest == manifest
    with pytest.raises(UserError, match="with other dtype"):
        capture_pooled(encoder, examples, tmp_path / "a", name="a", dtype="float16")


def test_stopped_and_gone_on_and_in_shards(encoder: Encoder, examples: pd.DataFrame, tmp_path: Path) -> None:
    many = pd.concat([examples.assign(question=[f"{i} {q}" for q in examples["question"]]) for i in range(120)])
    one = capture_pooled(encoder, many, tmp_path / "one" / "a", name="a")
    place = tmp_path / "two" / "a"
    with pytest.raises(Cancelled):
        capture_pooled(encoder, many, place, name="a", progress=StopAt(2_000))
    assert not place.exists() and place.with_name(".a.partial").exists()
    assert hashes(capture_pooled(encoder, many, place, name="a").folder) == hashes(one.folder)
    folders = [tmp_path / f"shard-{number}" for number in range(2)]
    for number, shard in enumerate(folders):
        fill_pooled_shard(encoder, many, shard, (number, 2), progress=Silent())
    merged = capture_pooled(encoder, many, tmp_path / "three" / "a", name="a", shards=Shards(folders))
    assert hashes(merged.folder) == hashes(one.folder) and merged.manifest["spec"] == one.manifest["spec"]


def test_cost(encoder: Encoder, examples: pd.DataFrame) -> None:
    cost = estimate_pooled(encoder, examples, dtype="float16")
    assert (cost.rows, cost.bytes, cost.skipped) == (6, 6 * D_MODEL * 2, 2)
    assert cost.seconds is not None and cost.seconds > 0
    read = [len(ids) for ids in encoder.tokenize(examples["question"].tolist()) if 1 < len(ids) <= 32]
    assert cost.tokens == sum(read)


def test_from_a_specification(folder: Path, tmp_path: Path) -> None:
    """What the command line and the Data page ask for: an ontology's terms, embedded, with their concepts."""
    path = tmp_path / "small.obo"
    path.write_text(OBO, encoding="utf-8")
    spec = {"name": "terms", "model": str(folder), "problems": str(path), "positions": "pooled"}
    assert captures.checked(spec)["layers"] is None
    made = captures.capture(spec, tmp_path / "terms", "cpu", Silent())
    assert made.manifest["problems"]["kind"] == "ontology" and made.manifest["problems"]["n"] == 10
    assert made.manifest["problems"]["unread"] == ["'asd' names 2 concepts: HP:0000003, HP:0000004"]
    table = Activations.open(made.folder).examples
    assert {"concept", "categories", "parents", "ancestors", "term"} <= set(table) and "answer" not in table
    assert made.rows.assign(concept=table["concept"]).groupby("concept")["split"].nunique().max() == 1
    cost = captures.estimate(spec, "cpu")
    assert cost["rows"] == 10 and cost["layers"] is None and cost["d_in"] == D_MODEL
    captures.capture_shard(spec, tmp_path / "shard", (0, 1), "cpu", Silent())
    merged = captures.capture(spec, tmp_path / "again" / "terms", "cpu", Silent(), Shards([tmp_path / "shard"]))
    assert hashes(merged.folder) == hashes(made.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": "3"}, "no layers are chosen"),
        ({"answers": True}, "gives no answers"),
        ({"steps": "1"}, "thoughts alone"),
        ({"positions": "last"}, "layers are needed"),
        ({"positions": "last", "layers": "3", "model": "minilm"}, "at the positions pooled"),
        ({"problems": "hpo", "test_problems": "generated:10"}, "split by concept"),
        ({"dtype": "int8"}, "dtype"),
    ],
)
def test_specifications_that_are_refused(changes: dict[str, object], message: str) -> None:
    spec = {"name": "a", "model": "some/encoder", "problems": "generated:10", "positions": "pooled"}
    with pytest.raises(UserError, match=message):
        captures.checked({**spec, **changes})


def test_texts_that_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    for table, message in (
        (pd.DataFrame({"question": ["", " "]}), "none of the 2 texts can be read: example 0: no words"),
        (pd.DataFrame({"question": []}), "no examples"),
        (pd.DataFrame({"term": ["a"]}), "no column 'question'"),
    ):
        with pytest.raises(UserError, match=message):
            capture_pooled(encoder, table, tmp_path / "a", name="a")
    with pytest.raises(UserError, match="no column 'answer'"):
        capture_pooled(encoder, pd.DataFrame({"question": ["a"]}), tmp_path / "a", name="a", text="question+answer")
    with pytest.raises(UserError, match="batch size 0"):
        capture_pooled(encoder, pd.DataFrame({"question": ["a"]}), tmp_path / "a", name="a", batch_size=0)
    assert not (tmp_path / "a").exists()
