"""The examples of a capture: problems, terms or texts, cut by the model's tokens where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.context import Cut, Piece
    from sae.problems import Document, Texts

# So that a test split of generated problems is not the training problems over again.
_TEST_SEED = 1
# A problem's own labels of these names, beside what says where a piece stands.
_LABELS = {"document": "document_label", "char_start": "char_start_label"}
_TOGETHER = "pieces of one document stay on one side"
_AMONG_THEMSELVES = "there is one document: its pieces are split among themselves"


@dataclass(frozen=True)
class Read:
    """What a capture is of, and where it came from.

    Attributes:
        examples: problems or terms, without test problems; None for texts.
        source: of the problems, with those lines that could not be read; of texts, `Texts.provenance` says it.
        test: test problems, where there are some.
        texts: the documents, read as they are wanted; None for problems.
    """

    examples: pd.DataFrame | None
    source: dict[str, Any]
    test: pd.DataFrame | None = None
    texts: Texts | None = None


@dataclass(frozen=True)
class Examples:
    """What a model reads.

    Attributes:
        table: the examples, with a column `split` where there are test problems.
        source: where they came from, for the manifest.
        text: what of each is read: `question` or `question+answer`.
        cut: how they were cut or where they were stopped, if they were.
    """

    table: pd.DataFrame
    source: dict[str, Any]
    text: str
    cut: Cut | None = None


def check_texts(spec: dict[str, Any]) -> None:
    """Whether what a specification says of texts, its context and its tokens goes together.

    Raises:
        UserError: if not.
    """
    from sae.problems import names_terms, names_texts

    texts = names_texts(spec["problems"])
    positions, context, tokens = spec["positions"], spec.get("context"), spec.get("tokens")
    for name, value, least in (("context", context, 2), ("number of tokens", tokens, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise UserError(f"the {name} must be a whole number from {least} on, not {value!r}")
    if positions not in ("last", "all"):
        read = "a CODI model thinks about a whole question" if positions == "thoughts" else "a row is of a whole text"
        if context is not None:
            raise UserError(f"{read}: no context can be chosen for the positions {positions}")
        if tokens is not None:
            raise UserError(f"{read}: take a limit in place of a number of tokens for the positions {positions}")
    if texts and positions == "thoughts":
        raise UserError("a CODI model thinks about questions: texts can't be captured at the positions thoughts")
    if spec["answers"] and (texts or context is not None):
        asked = "texts ask nothing" if texts else "a piece of a problem asks nothing"
        raise UserError(f"{asked}: leave the answers out, or capture whole problems")
    if texts and spec["text"] != "question":
        raise UserError(f"texts have no answers: text {spec['text']!r} can't be taken")
    if spec["test_problems"]:
        if names_terms(spec["problems"]):
            raise UserError("terms of an ontology are split by concept: test problems can't be put beside them")
        if texts or names_texts(spec["test_problems"]):
            raise UserError(
                "texts are split by document: test problems can't be put beside them, but lines of a .jsonl file may "
                "have a 'split'"
            )


def read_problems(spec: dict[str, Any]) -> Read:
    """The problems of a checked specification; generated test problems are drawn with the next seed.

    Raises:
        UserError: if they can't be read.
    """
    from sae import problems

    if problems.names_texts(spec["problems"]):
        texts = problems.open_texts(spec["problems"], limit=spec["limit"], endless=spec.get("tokens") is None)
        return Read(None, {}, texts=texts)
    if problems.names_terms(spec["problems"]):
        terms = problems.load_terms(spec["problems"], limit=spec["limit"])
        return Read(terms.table(), _source(terms))
    found = problems.load(spec["problems"], limit=spec["limit"], seed=spec["seed"])
    source = _source(found)
    if not spec["test_problems"]:
        return Read(found.table(), source)
    test = problems.load(spec["test_problems"], seed=spec["seed"] + _TEST_SEED)
    return Read(found.table(), {**source, "test": _source(test)}, test.table())


def _source(found: Any) -> dict[str, Any]:
    unread = {"unread": [str(line) for line in found.skipped]} if found.skipped else {}
    return {**found.source, "n": len(found), **unread}


def examples_of(read: Read, spec: dict[str, Any], model: Any, tick: Callable[[], None] = lambda: None) -> Examples:
    """The examples of a checked specification, as `model` reads them.

    Args:
        model: what captures them; its tokens are asked for where they are cut or counted.
        tick: called now and then.

    Raises:
        UserError: if texts can't be read, or the context does not fit the model.
    """
    from sae.capture.context import Cut, cut_texts
    from sae.capture.splits import with_test

    context, tokens = spec.get("context"), spec.get("tokens")
    asked = None if context is None and tokens is None else Cut(context, tokens, spec["text"])
    positions = spec["positions"]

    def pieces_of(texts: Iterator[str], budget: int | None) -> list[Piece]:
        return cut_texts(model, texts, context=context, tokens=budget, positions=positions, tick=tick)

    if read.texts is not None:
        return _texts(read.texts, asked, lambda texts: pieces_of(texts, tokens), positions)
    assert read.examples is not None
    test = read.test
    if asked is None:
        table = read.examples if test is None else with_test(read.examples, test)
        return Examples(table, read.source, spec["text"])
    words = _words(read.examples, spec["text"])
    pieces = pieces_of(iter(words), tokens)
    table = _cut_table(_own_labels(read.examples, asked), words, pieces, asked)
    cut = _counted(asked, pieces, positions)
    if test is not None:
        words = _words(test, spec["text"])
        more = pieces_of(iter(words), None)
        tested = _cut_table(_own_labels(test, asked), words, more, asked, first=len(read.examples))
        table = with_test(table, tested)
        cut = replace(cut, documents=cut.documents + len(test), pieces=len(table))
    return Examples(table, read.source, spec["text"] if context is None else "question", cut)


def _texts(
    texts: Texts, asked: Cut | None, pieces_of: Callable[[Iterator[str]], list[Piece]], positions: str
) -> Examples:
    from sae.problems.texts import documents_table

    documents: list[Document] = []

    def words() -> Iterator[str]:
        for document in texts:
            documents.append(document)
            yield document.text

    if asked is None:
        for _ in words():
            pass
        table, cut = documents_table(documents), None
    else:
        pieces = pieces_of(words())
        table = _cut_table(documents_table(documents), [one.text for one in documents], pieces, asked)
        cut = _counted(asked, pieces, positions)
    return Examples(table, {**texts.provenance(), "n": len(documents)}, "question", cut)


def _words(table: pd.DataFrame, text: str) -> list[str]:
    """What of each problem is cut."""
    from sae.capture.store import example_text

    if text == "question+answer" and "answer" not in table:
        raise UserError(f"the examples have no column 'answer': text {text!r} can't be taken")
    answers = table["answer"] if "answer" in table else [None] * len(table)
    return [example_text(q, a, text) for q, a in zip(table["question"], answers, strict=True)]


def _cut_table(
    documents: pd.DataFrame, words: Sequence[str], pieces: Sequence[Piece], asked: Cut, first: int = 0
) -> pd.DataFrame:
    from sae.capture.context import pieces_table

    if asked.context is None:
        return documents.iloc[: len(pieces)]
    return pieces_table(documents, words, pieces, first)


def _own_labels(problems: pd.DataFrame, asked: Cut) -> pd.DataFrame:
    """Problems, their labels named otherwise where pieces have columns of these names."""
    return problems if asked.context is None else problems.rename(columns=_LABELS)


def _counted(asked: Cut, pieces: Sequence[Piece], positions: str) -> Cut:
    from sae.capture.context import rows_of

    documents = len({piece.document for piece in pieces})
    split = "" if asked.context is None else _TOGETHER if documents > 1 else _AMONG_THEMSELVES
    reached = sum(rows_of(piece.tokens, positions) for piece in pieces)
    return replace(asked, documents=documents, pieces=len(pieces), reached=reached, split=split)
