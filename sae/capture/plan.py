"""What a capture will do, worked out before it starts: which tokens become which rows, and in which batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.lazily import lazily

from .store import example_text

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel, Tokens

POSITIONS = ("last", "all")
TEXTS = ("question", "question+answer")
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Plan:
    """Rows of one layer: example after example, token after token. Every further layer repeats them.

    Attributes:
        tokens: of every example that is read, in the order of `numbers`.
        numbers: the examples' line numbers, ascending.
        indices: for each of them the token indices (into `tokens.ids`) whose states become rows.
        skipped: examples that can't be read, with the reason, for the manifest.
    """

    tokens: list[Tokens]
    numbers: list[int]
    indices: list[list[int]]
    skipped: list[dict[str, Any]]

    @lazily
    def first_row(self) -> np.ndarray:
        """[n + 1]: where the rows of each example begin within a layer; the last entry is their number."""
        return np.concatenate([[0], np.cumsum([len(kept) for kept in self.indices])]).astype(np.int64)

    @property
    def rows_per_layer(self) -> int:
        return int(self.first_row[-1])

    @property
    def n_tokens(self) -> int:
        return sum(len(tokens.ids) for tokens in self.tokens)

    def batches(self, batch_size: int, batch_tokens: int) -> list[list[int]]:
        """Places in `tokens`; see `in_batches`."""
        return in_batches([len(tokens.ids) for tokens in self.tokens], batch_size, batch_tokens)

    def row_columns(self) -> dict[str, np.ndarray]:
        """`example`, `token`, `char_start` and `char_end`, int32 [rows_per_layer].

        Tokens count from 0 at the first of the text, special tokens aside.
        """
        example: list[int] = []
        token: list[int] = []
        start: list[int] = []
        end: list[int] = []
        for number, tokens, indices in zip(self.numbers, self.tokens, self.indices, strict=True):
            first = len(tokens.kept) - len(indices)
            example += [number] * len(indices)
            token += range(first, len(tokens.kept))
            start += tokens.starts[first:]
            end += tokens.ends[first:]
        columns = {"example": example, "token": token, "char_start": start, "char_end": end}
        return {name: np.array(values, np.int32) for name, values in columns.items()}


def make_plan(model: LanguageModel, examples: pd.DataFrame, positions: str, text: str) -> Plan:
    """Tokenize `examples` and lay out the rows.

    Special tokens that the tokenizer adds (BOS, EOS) are read by the model but are no rows: `all` are all other
    tokens, `last` is the last of them. A text longer than the model's context, or without a token, is skipped.

    Raises:
        UserError: for an unknown choice, no examples, a missing column, or if all texts are skipped.
    """
    check_choice("positions", positions, POSITIONS)
    check_choice("text", text, TEXTS)
    needed = ("question", "answer") if text == "question+answer" else ("question",)
    if lacking := [column for column in needed if column not in examples]:
        raise UserError(f"the examples have no column {lacking[0]!r}")
    if not len(examples):
        raise UserError("there are no examples to capture")
    answers = examples["answer"] if "answer" in examples else [None] * len(examples)
    texts = [example_text(q, a, text) for q, a in zip(examples["question"], answers, strict=True)]
    plan = Plan([], [], [], [])
    for number, tokens in enumerate(model.tokenize(texts)):
        if not tokens.kept:
            plan.skipped.append({"example": number, "tokens": 0, "reason": "no tokens"})
        elif model.context is not None and len(tokens.ids) > model.context:
            plan.skipped.append({"example": number, "tokens": len(tokens.ids), "reason": "longer than the context"})
        else:
            plan.tokens.append(tokens)
            plan.numbers.append(number)
            plan.indices.append(tokens.kept if positions == "all" else tokens.kept[-1:])
    if not plan.numbers:
        first = plan.skipped[0]
        raise UserError(
            f"none of the {len(examples):,} texts can be read: "
            f"example {first['example']} has {first['tokens']:,} tokens, "
            f"the model's context is {model.context:,}"
        )
    return plan


def in_batches(lengths: Sequence[int], batch_size: int, batch_tokens: int) -> list[list[int]]:
    """Places in `lengths`, longest texts first, so that memory and time show their worst at once.

    A batch has at most `batch_size` texts and, padded, at most `batch_tokens` tokens (or one text).
    It depends on nothing else: a resumed capture meets the same batches, and so the same rounding.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        batch = found[-1] if found else None
        if batch and len(batch) < batch_size and (len(batch) + 1) * lengths[batch[0]] <= batch_tokens:
            batch.append(place)
        else:
            found.append([place])
    return found


def check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    """Raises UserError if `value` is not one of `choices`."""
    if value not in choices:
        raise UserError(f"{what} {value!r} is not known: take {' or '.join(choices)}")
