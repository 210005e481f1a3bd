"""The passes of a thinking model over problems: which can be read, in which batches, and what comes of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sae.common.errors import UserError

from .plan import in_batches

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models.codi.model import Codi

#: How many words each thought is said to read as.
TOP_WORDS = 5
#: Problems in a batch; and padded tokens of their questions: what a CPU's memory holds, or keeps a GPU busy.
BATCH_SIZE = 128
_CPU_BATCH_TOKENS, _GPU_BATCH_TOKENS = 8192, 65536
# Beyond four digits a probability says nothing more about what a thought reads as.
_DIGITS = 4


@dataclass(frozen=True)
class ThoughtPlan:
    """The problems that are thought about; every layer and step has a row for each.

    Attributes:
        ids: token ids of their questions, in the order of `numbers`.
        numbers: the examples' line numbers, ascending.
        unknown: for every example, skipped ones too, how many words the tokenizer does not know.
        skipped: examples that can't be read, with the reason, for the manifest.
    """

    ids: list[list[int]]
    numbers: list[int]
    unknown: list[int]
    skipped: list[dict[str, Any]]

    @property
    def n_tokens(self) -> int:
        """Of the questions."""
        return sum(map(len, self.ids))

    def batches(self, batch_size: int, batch_tokens: int) -> list[list[int]]:
        """Places in `ids`; see `in_batches`."""
        return in_batches([len(row) for row in self.ids], batch_size, batch_tokens)


class Thoughts(NamedTuple):
    """What came of a batch of B problems.

    Attributes:
        states: for each layer float32 [steps, B, d_model].
        said: for each problem what JSON gives back as it is: `answer`, `number`, `log_prob`, and `thoughts`, for
            every step of the model the likeliest words as [word, probability].
    """

    states: dict[int, np.ndarray]
    said: list[dict[str, Any]]


def make_thought_plan(codi: Codi, examples: pd.DataFrame) -> ThoughtPlan:
    """Tokenize the questions; one that is empty, too long, or has words that the model does not know is skipped.

    Raises:
        UserError: for no examples, no column `question`, or if all are skipped.
    """
    if "question" not in examples:
        raise UserError("the examples have no column 'question'")
    if not len(examples):
        raise UserError("there are no examples to capture")
    questions = [question if isinstance(question, str) else "" for question in examples["question"]]
    plan = ThoughtPlan([], [], [], [])
    for number, (question, ids, unknown) in enumerate(
        zip(questions, codi.tokens(questions), codi.unknown_words(questions), strict=True)
    ):
        plan.unknown.append(len(unknown))
        if reason := _why_not(codi, question, ids, unknown):
            plan.skipped.append({"example": number, "tokens": len(ids), "reason": reason})
        else:
            plan.ids.append(ids)
            plan.numbers.append(number)
    if not plan.numbers:
        first = plan.skipped[0]
        raise UserError(
            f"none of the {len(examples):,} problems can be read by {codi.source.get('name')!r}: "
            f"example {first['example']}: {first['reason']}"
        )
    return plan


def _why_not(codi: Codi, question: str, ids: list[int], unknown: list[str]) -> str:
    if not question.strip() or not ids:
        return "no words"
    if unknown:
        shown = ", ".join(repr(word) for word in dict.fromkeys(unknown[:3]))
        words = "word" if len(unknown) == 1 else "words"
        return f"{len(unknown)} {words} that the model does not know: {shown}" + (" ..." if len(unknown) > 3 else "")
    if codi.room is not None and len(ids) > codi.room:
        return f"longer than the {codi.room:,} tokens that leave room for thoughts and an answer"
    return ""


def check_layers(codi: Codi, layers: Sequence[int]) -> list[int]:
    """`layers` sorted, each once.

    Raises:
        UserError: if there are none, or one is out of range, naming the range.
    """
    return _check(layers, 0, codi.n_layers - 1, "layer", f"{codi.source.get('name')!r} has layers")


def check_steps(codi: Codi, steps: Sequence[int] | None) -> list[int]:
    """`steps` sorted, each once; None are all of the model's: BOT and its thoughts.

    Raises:
        UserError: as `check_layers`.
    """
    if steps is None:
        return list(range(codi.n_thoughts + 1))
    return _check(steps, 0, codi.n_thoughts, "step", f"{codi.source.get('name')!r} has steps")


def _check(values: Sequence[int], first: int, last: int, what: str, there: str) -> list[int]:
    wanted = sorted(set(values))
    if not wanted:
        raise UserError(f"no {what} was asked for")
    for value in (wanted[0], wanted[-1]):
        if not first <= value <= last:
            raise UserError(f"{what} {value} is not there: {there} {first} to {last}")
    return wanted


def prepare(codi: Codi) -> str:
    """Take the fastest exact kernel that this CPU has; its name. It decides the last bits."""
    from sae.language_models.kernels import onednn_linear_helps, use_onednn

    if codi.device.type != "cpu" or not onednn_linear_helps():
        return "default"
    use_onednn(codi.language_model)
    use_onednn(codi.projection)
    return "onednn"


def batch_tokens_for(codi: Codi) -> int:
    """Padded tokens in a batch on the model's device."""
    return _CPU_BATCH_TOKENS if codi.device.type == "cpu" else _GPU_BATCH_TOKENS


def think_batches(
    codi: Codi,
    plan: ThoughtPlan,
    batches: list[list[int]],
    layers: list[int],
    steps: list[int],
    final_norm: str = "before",
    tick: Callable[[], None] = lambda: None,
) -> Generator[Thoughts, None, None]:
    """For each batch, in order, its states at `layers` and `steps`, and what the model said.

    On a CPU each core takes a batch of its own: its small operations gain nothing from a second core.

    Args:
        final_norm: `after` takes the last block's states after the final norm.
        tick: called while a batch is waited for.
    """
    import torch

    from sae.language_models.cores import in_order, workers_for

    inside = [layer for layer in layers if final_norm == "before" or layer < codi.n_layers - 1]
    nothing = Thoughts({}, [])

    def work(batch: list[int], stop: Event) -> Thoughts:
        if stop.is_set():
            return nothing
        with torch.inference_mode():
            thinking = codi.think([plan.ids[place] for place in batch], layers=inside)
            found = dict(thinking.states)
            found |= {layer: thinking.final for layer in layers if layer not in found}
            states = {layer: found[layer][steps].to(torch.float32).cpu().numpy() for layer in layers}
            words, shares = codi.reads_as(thinking.final.flatten(0, 1), TOP_WORDS)
            if stop.is_set():
                return nothing
            answers = codi.answer(thinking)
        read = [
            [[word, round(share, _DIGITS)] for word, share in zip(*step, strict=True)]
            for step in zip(words, shares.tolist(), strict=True)
        ]
        # Step after step, and in each problem after problem.
        n = len(batch)
        said = [
            {"answer": a.text, "number": a.number, "log_prob": a.log_prob, "thoughts": read[index::n]}
            for index, a in enumerate(answers)
        ]
        return Thoughts(states, said)

    yield from in_order(work, batches, workers=workers_for(codi.language_model), tick=tick)
