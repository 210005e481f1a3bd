"""Texts cut into pieces that a model reads in one context, by its own tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel, Tokens

#: SAEBench's, in tokens; what texts are cut to if nothing else is said.
TEXT_CONTEXT = 128
# A text is tokenized in windows of so many characters for each token of the context: only as much of it as is wanted.
_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters `start` to `end` of the text with the number `document`; `tokens` of it are none of the special."""

    document: int
    start: int
    end: int
    tokens: int


@dataclass(frozen=True)
class Cut:
    """What was cut, and where it was stopped; it stands in the manifest.

    Attributes:
        context: most tokens of a piece, special ones among them; None where texts were left whole.
        tokens: so many were asked for, of those that make rows; None for all.
        text: what of an example was cut: `question` or `question+answer`.
        documents: how many texts the pieces come from.
        pieces: how many became examples.
        reached: how many tokens of them make rows.
        split: in words, how pieces of one document stand to the split; empty where texts were left whole.
    """

    context: int | None
    tokens: int | None
    text: str
    documents: int = 0
    pieces: int = 0
    reached: int = 0
    split: str = ""

    @property
    def asked(self) -> dict[str, Any]:
        """What of it makes two captures different."""
        return {"context": self.context, "tokens": self.tokens, "text": self.text}


def cut_texts(
    model: LanguageModel,
    texts: Iterable[str],
    *,
    context: int | None,
    tokens: int | None = None,
    positions: str = "all",
    tick: Callable[[], None] = lambda: None,
) -> list[Piece]:
    """The pieces of `texts`, in order; no more of them are asked for than are needed.

    Pieces begin and end between tokens of the text as a whole, each has at most `context` tokens when it is
    tokenized by itself, and one after the other they are the text.

    Args:
        context: most tokens of a piece, with the special ones that the tokenizer adds; None leaves texts whole.
        tokens: the last piece is the one with which so many tokens that make rows (with `positions` `last` one a
            piece) are reached; None takes all.
        tick: called before each text.

    Raises:
        UserError: if the context is longer than the model's, or too short for a character or for special tokens.
    """
    if context is not None and model.context is not None and context > model.context:
        raise UserError(f"context {context:,} is longer than the {model.context:,} tokens that the model reads")
    found: list[Piece] = []
    reached = 0
    for document, text in enumerate(texts):
        tick()
        for start, end, count in _pieces(model, text, context):
            found.append(Piece(document, start, end, count))
            reached += rows_of(count, positions)
            if tokens is not None and reached >= tokens:
                return found
    return found


def rows_of(tokens: int, positions: str) -> int:
    """How many rows a piece of so many tokens makes."""
    return tokens if positions == "all" else min(tokens, 1)


def pieces_table(
    documents: pd.DataFrame, texts: Sequence[str], pieces: Sequence[Piece], first: int = 0
) -> pd.DataFrame:
    """A line a piece: `question` (the piece), `document`, `char_start`, `group`, and the columns of its document.

    A document's own group stays; where it has none, its pieces are one. If all pieces are of one document there is no
    column `group`: they can only be split among themselves.

    Args:
        documents: a line a document.
        texts: of each document what was cut.
        first: number of the first document.
    """
    number = [first + piece.document for piece in pieces]
    table = documents.iloc[[piece.document for piece in pieces]].reset_index(drop=True)
    table = table.assign(question=[texts[piece.document][piece.start : piece.end] for piece in pieces])
    table = table.assign(document=number, char_start=[piece.start for piece in pieces])
    if len(set(number)) < 2:
        return table.drop(columns="group", errors="ignore")
    if "group" not in table:
        return table.assign(group=number)
    known = table["group"].notna()
    own = [
        str(group) if here else f"document {n}" for group, here, n in zip(table["group"], known, number, strict=True)
    ]
    return table.assign(group=own)


def _pieces(model: LanguageModel, text: str, context: int | None) -> Iterator[tuple[int, int, int]]:
    """Start, end and tokens of each piece of a text."""
    if context is None:
        tokens = model.tokenize([text])[0]
        # What can't be read whole makes no rows.
        fits = model.context is None or len(tokens.ids) <= model.context
        yield 0, len(text), len(tokens.kept) if fits else 0
        return
    start, lost, width = 0, 0, _WINDOW * context
    while start < len(text):
        window = text[start : start + width]
        ends = _ends(model.tokenize([window])[0], len(window), context, lost)
        if start + width < len(text):
            # The last piece of a window ends where the window does: it is cut again as the first of the next.
            if len(ends) < 2:
                width *= 2
                continue
            ends.pop()
        edges = list(pairwise([0, *ends]))
        done = 0
        for (first, last), tokens in zip(edges, model.tokenize([window[a:b] for a, b in edges]), strict=True):
            if len(tokens.ids) > context:
                # By itself it has more tokens than within the text (a first token that takes in no blank, say): from
                # here on pieces are that much shorter.
                lost += len(tokens.ids) - context
                break
            yield start + first, start + last, len(tokens.kept)
            done = last
        start += done


def _ends(tokens: Tokens, length: int, context: int, lost: int) -> list[int]:
    """Where pieces of at most `context` - `lost` tokens end, for the tokens of a text of `length` characters."""
    room = context - lost - (len(tokens.ids) - len(tokens.kept))
    if room < 1:
        raise UserError(_short(context))
    total = len(tokens.kept)
    ends: list[int] = []
    first, reached = 0, 0
    while total - first > room:
        # A cut must not stand within a character that tokens share.
        furthest, best, cut = reached, 0, 0
        for token in range(first, first + room):
            furthest = max(furthest, tokens.ends[token])
            if tokens.starts[token + 1] >= furthest > reached:
                best, cut = token + 1, furthest
        if not best:
            raise UserError(_short(context))
        ends.append(cut)
        first, reached = best, cut
    return [*ends, length]


def _short(context: int) -> str:
    return f"a context of {context} tokens is too short for a character of these texts: take a longer one"


def cut_text(cut: Mapping[str, Any]) -> str:
    """What a manifest's `cut` says, for people."""
    said = []
    if cut["context"]:
        documents = "document" if cut["documents"] == 1 else "documents"
        said.append(
            f"{cut['pieces']:,} pieces of at most {cut['context']:,} tokens, of {cut['documents']:,} {documents}; "
            f"{cut['split']}"
        )
    if cut["tokens"]:
        short = "" if cut["reached"] >= cut["tokens"] else ": there was no more"
        said.append(f"{cut['reached']:,} tokens make rows, {cut['tokens']:,} were asked for{short}")
    return "; ".join(said)
