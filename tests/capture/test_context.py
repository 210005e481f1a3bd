"""Texts cut by a model's tokens, and captured: pieces, their tokens, splits, manifests, resuming, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from sae.capture.context import cut_texts
from sae.capture.store import Activations
from sae.common.errors import Cancelled, UserError
from sae.common.progress import Silent
from sae.language_models import LanguageModel, load
from sae.workspace import Workspace
from sae.workspace.captures import capture, capture_shard, checked, estimate
from tests.language_models import tiny

LONG = "  ".join(tiny.TEXTS) * 9 + "\n\n tail \n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("models") / "llama", context=512)


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load(str(folder))


def metaspace() -> Any:
    """A tokenizer of another kind: a blank before every text, which a piece from its middle gets, too."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>"], show_progress=False)
    tokenizer.train_from_iterator(tiny.TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>")


def reads(tokenizer: Any) -> Any:
    """What cutting asks of a model without a limit."""
    named: Any = SimpleNamespace(tokenizer=tokenizer, context=None)
    named.tokenize = lambda texts: LanguageModel.tokenize(named, texts)
    return named


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
@pytest.mark.parametrize("context", [5, 16, 100])
def test_pieces_fit_and_join_to_the_text(model: LanguageModel, kind: str, context: int) -> None:
    tokenizer = model.tokenizer if kind == "bytes" else metaspace()
    texts = [LONG, "One.", tiny.TEXTS[1], " \n", LONG[7:] * 3]
    pieces = cut_texts(reads(tokenizer), iter(texts), context=context)
    for number, text in enumerate(texts):
        own = [piece for piece in pieces if piece.document == number]
        assert "".join(text[piece.start : piece.end] for piece in own) == text
        sizes = [len(tokenizer(text[piece.start : piece.end])["input_ids"]) for piece in own]
        assert max(sizes) <= context and [size - 1 for size in sizes] == [piece.tokens for piece in own]
        # Full but for the last, a character of several tokens, and what a piece by itself has more of.
        assert np.mean(sizes[:-1] or [context]) > context - 2
    starts = {piece.start for piece in pieces if piece.document == 0}
    offsets = tokenizer(LONG, return_offsets_mapping=True)["offset_mapping"]
    assert starts <= {0} | {end for _, end in offsets}


def test_no_more_texts_are_read_than_tokens_need(model: LanguageModel) -> None:
    lengths = [len(model.tokenizer(text)["input_ids"]) - 1 for text in tiny.TEXTS]
    asked: list[int] = []

    def texts() -> Any:
        for number, text in enumerate(tiny.TEXTS):
            asked.append(number)
            yield text

    whole = cut_texts(model, texts(), context=None, tokens=lengths[0] + 1)
    assert [piece.tokens for piece in whole] == lengths[:2] and asked == [0, 1]
    assert len(cut_texts(model, texts(), context=None, tokens=3, positions="last")) == 3
    pieces = cut_texts(model, texts(), context=9, tokens=20)
    assert sum(piece.tokens for piece in pieces[:-1]) < 20 <= sum(piece.tokens for piece in pieces)
    assert len(cut_texts(model, texts(), context=9, tokens=10**6)) == len(cut_texts(model, texts(), context=9))


def test_contexts_that_do_not_go(model: LanguageModel) -> None:
    with pytest.raises(UserError, match="context 513 is longer than the 512 tokens"):
        cut_texts(model, ["a"], context=513)
    with pytest.raises(UserError, match="a context of 2 tokens is too short for a character"):
        cut_texts(model, ["🙂🙂🙂"], context=2)


def spec(folder: Path, problems: object, **more: Any) -> dict[str, Any]:
    return {"name": "a", "model": str(folder), "problems": str(problems), "layers": "1", "positions": "all", **more}


def made(workspace: Workspace, wanted: dict[str, Any], progress: Any = None) -> Activations:
    return capture(wanted, workspace.activations_folder(wanted["name"]), "cpu", progress or Silent())


def table(path: Path, texts: list[str], **labels: list[Any]) -> Path:
    lines = [{"text": text, **{k: v[i] for k, v in labels.items()}} for i, text in enumerate(texts)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def test_documents_are_captured_in_pieces(folder: Path, model: LanguageModel, tmp_path: Path) -> None:
    texts = [text * (2 + number) for number, text in enumerate(tiny.TEXTS)]
    path = table(tmp_path / "t.jsonl", texts, tone=[n % 2 for n in range(len(texts))])
    found = made(Workspace(tmp_path / "w"), spec(folder, path, context=16, dtype="float32"))
    examples = found.examples
    for number, text in enumerate(texts):
        own = examples[examples["document"] == number]
        assert "".join(own["question"]) == text and set(own["tone"]) == {number % 2}
        assert all(text[at:].startswith(piece) for at, piece in zip(own["char_start"], own["question"], strict=True))
        assert own["split"].nunique() == 1 and set(own["group"]) == {number}
    assert {"train", "validation"} == set(examples["split"]) and found.manifest["split"]["method"] == "group"
    cut = found.manifest["cut"]
    assert (cut["context"], cut["documents"], cut["pieces"]) == (16, len(texts), len(examples))
    assert cut["reached"] == found.n_rows and cut["split"] == "pieces of one document stay on one side"
    assert found.manifest["problems"]["n"] == len(texts) and found.manifest["text"] == "question"
    # A row is what the model reads of its piece alone.
    import torch

    row = int(np.flatnonzero(found.rows["example"] == 5)[3])
    ids = model.tokenizer(examples["question"][5])["input_ids"]
    with torch.inference_mode():
        states = model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2]
    np.testing.assert_allclose(found.array[row], states[0, 4].numpy(), rtol=1e-4, atol=1e-4)


def test_the_default_context_and_one_document(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(LONG * 3)
    wanted = spec(folder, tmp_path / "book.txt")
    assert checked(wanted)["context"] == 128
    found = made(Workspace(tmp_path / "w"), wanted)
    assert "".join(found.examples["question"]) == LONG * 3 and "group" not in found.examples
    assert set(found.examples["split"]) == {"train", "validation"}
    assert found.manifest["cut"]["split"] == "there is one document: its pieces are split among themselves"
    cost = estimate(wanted, "cpu")
    assert (cost["rows"], cost["cut"]) == (found.n_rows, found.manifest["cut"])


@pytest.mark.parametrize("text", ["question", "question+answer"])
def test_problems_are_cut_too(folder: Path, tmp_path: Path, text: str) -> None:
    wanted = spec(folder, "generated:12", context=16, text=text, test_problems="generated:3")
    examples = made(Workspace(tmp_path / "w"), wanted).examples
    from sae.problems import generate

    problems = [*generate(12, 0).examples, *generate(3, 1).examples]
    for number, problem in enumerate(problems):
        own = examples[examples["document"] == number]
        whole = problem.question + (f"\n{problem.answer}" if text == "question+answer" else "")
        assert "".join(own["question"]) == whole and set(own["operations"]) == {problem.operations}
        assert (set(own["split"]) == {"test"}) == (number >= 12)
    assert (examples.groupby("group")["split"].nunique() == 1).all()


def test_a_number_of_tokens_ends_problems(folder: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    whole = made(workspace, spec(folder, "generated:12", name="whole"))
    rows = whole.rows["example"].value_counts().sort_index().cumsum().tolist()
    found = made(workspace, spec(folder, "generated:12", tokens=rows[4] - 3))
    assert found.n_rows == rows[4] and found.n_examples == 5
    # In other batches, so not to the same bits.
    np.testing.assert_allclose(found.array, whole.array[: rows[4]], rtol=1e-4, atol=1e-4)
    assert found.manifest["cut"]["tokens"] == rows[4] - 3 and "document" not in found.examples
    assert whole.manifest["cut"] is None and "cut" not in whole.manifest["spec"]


class Stop:
    def __init__(self) -> None:
        self.left = 3

    def update(self, done: float, total: float, stage: str = "", **figures: Any) -> None:
        self.left -= stage.startswith("capturing")
        if self.left < 0:
            raise Cancelled


def test_a_stopped_one_goes_on_and_shards_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [LONG * 2, LONG[9:] * 2, *tiny.TEXTS])
    wanted = checked(spec(folder, path, context=24, tokens=5000))
    whole = made(Workspace(tmp_path / "one"), wanted)
    with pytest.raises(Cancelled):
        made(Workspace(tmp_path / "two"), wanted, Stop())
    with pytest.raises(UserError, match="unfinished capture 'a' has other examples, cut"):
        made(Workspace(tmp_path / "two"), {**wanted, "context": 30})
    again = made(Workspace(tmp_path / "two"), wanted)
    from sae.capture.shards import Shards

    parts = [tmp_path / f"part{number}" for number in range(2)]
    for number, part in enumerate(parts):
        capture_shard(wanted, part, (number, 2), "cpu", Silent())
    shared = capture(wanted, tmp_path / "three" / "a", "cpu", Silent(), Shards(parts))
    for other in (again, shared):
        for name in ("activations.npy", "rows.parquet", "examples.parquet"):
            assert (whole.folder / name).read_bytes() == (other.folder / name).read_bytes()
        assert other.manifest["cut"] == whole.manifest["cut"]


def test_older_specifications_stay_as_they_are(folder: Path) -> None:
    old = spec(folder, "generated:4")
    assert not {"context", "tokens"} & checked(old).keys()
    assert checked({**old, "context": None, "tokens": None}) == checked(old)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"context": 1}, "context must be a whole number from 2 on, not 1"),
        ({"tokens": 0}, "number of tokens must be a whole number from 1 on"),
        ({"context": 16, "answers": True}, "a piece of a problem asks nothing: leave the answers out"),
        ({"problems": "a.txt", "answers": True}, "texts ask nothing"),
        ({"problems": "a.txt", "text": "question+answer"}, "texts have no answers"),
        ({"problems": "a.txt", "test_problems": "generated:3"}, "may have a 'split'"),
        ({"test_problems": "hub:a/b"}, "texts are split by document"),
        ({"positions": "thoughts", "context": 16}, "no context can be chosen for the positions thoughts"),
        ({"positions": "thoughts", "problems": "a.txt"}, "a CODI model thinks about questions"),
        ({"positions": "pooled", "layers": None, "context": 16}, "no context can be chosen for the positions pooled"),
        ({"positions": "pooled", "layers": None, "tokens": 16}, "take a limit in place of a number of tokens"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked({"name": "a", "model": "m", "problems": "generated:4", "layers": "1", **more})
