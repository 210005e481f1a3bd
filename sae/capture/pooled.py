"""One vector a text, pooled over its tokens by an encoder, as activations; a killed capture goes on where it was."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import check_name
from sae.common.progress import Progress, Silent

from .estimates import Estimate
from .filling import Work, fill, stored
from .folder import Workplace, write_examples, write_rows
from .forward import batch_tokens_for
from .npy import NpyWriter
from .plan import DTYPES, TEXTS, check_choice, in_batches
from .splits import split_examples
from .state import STATE, State, make_spec, what_is_there
from .store import Activations, example_text

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models.encoders import Encoder

    from .shards import Shards

#: Texts in a batch. Terms have a handful of tokens each: the number of tokens limits longer texts first.
BATCH_SIZE = 256


@dataclass(frozen=True)
class PooledPlan:
    """Which texts become rows, in the order of the examples: their token ids and line numbers; who is left out."""

    ids: list[list[int]]
    numbers: list[int]
    skipped: list[dict[str, Any]]

    @property
    def n_tokens(self) -> int:
        return sum(map(len, self.ids))

    def batches(self, batch_size: int, batch_tokens: int) -> list[list[int]]:
        """Places in `ids`; see `plan.in_batches`."""
        return in_batches(list(map(len, self.ids)), batch_size, batch_tokens)


def capture_pooled(
    encoder: Encoder,
    examples: pd.DataFrame,
    folder: Path,
    *,
    name: str,
    text: str = "question",
    dtype: str = "float32",
    batch_size: int = BATCH_SIZE,
    problems_source: dict[str, Any] | None = None,
    progress: Progress | None = None,
    shards: Shards | None = None,
) -> Activations:
    """Write one row a text of `examples` into `folder`, in their order: one slice without a layer or a position.

    The same name with the same spec (model and its pooling, examples, text, dtype) returns what is there or goes on
    with what a kill or a cancel left beside `folder`, in the same batches, to the same bytes.

    Args:
        encoder: see `Encoder.embed` for what a row is; the manifest's `model.pooling` says it too.
        examples: `question`, and where used `answer`, `group`, `split`; other columns are kept.
        folder: where the activations will stand; its last part is `name`.
        text: `question`, or `question+answer` (a line break between them).
        dtype: `float16` or `float32`, of what is stored.
        batch_size: at most so many texts at once; long ones are fewer.
        problems_source: where the examples came from, for the manifest.
        progress: may raise `Cancelled`; what is there then stays for the next time.
        shards: hold all vectors already; the model then says only what they belong to.

    Raises:
        UserError: bad arguments, another spec under the same name, no text that can be read, too little room on the
            disk, or values that `dtype` can't hold. Nothing is left in `folder`.
    """
    progress = progress or Silent()
    check_name(name, "activations name")
    if folder.name != name:
        raise UserError(f"the folder {folder} must end in the activations' name {name!r}")
    check_choice("dtype", dtype, DTYPES)
    if batch_size < 1:
        raise UserError(f"batch size {batch_size} must be at least 1")
    examples = examples.reset_index(drop=True)
    spec = make_spec(encoder.source, examples, positions="pooled", text=text, dtype=dtype)
    if folder.exists():
        return what_is_there(folder, spec)

    progress.update(0, 1, "tokenizing")
    plan = make_pooled_plan(encoder, examples, text)
    split, split_how = split_examples(examples)
    how = shards.how(spec) if shards else how_pooled(encoder, batch_size)
    with Workplace(folder) as place:
        if folder.exists():
            return what_is_there(folder, spec)
        state = State.at(place, spec, how)
        _embed_all(encoder, plan, np.dtype(dtype), place, state, progress, shards)
        progress.update(0, 1, "finishing")
        n = len(plan.numbers)
        write_rows(place.partial / "rows.parquet", {"example": np.array(plan.numbers, np.int32)}, split, [None])
        write_examples(place.partial / "examples.parquet", examples, split)
        manifest = {
            "kind": "capture",
            "model": {**encoder.source, "d_model": encoder.d_model, "context": encoder.context},
            "problems": problems_source,
            "text": text,
            "positions": "pooled",
            "layers": None,
            "site": "mean over the tokens of the last layer's states, special tokens among them"
            + (", divided by its Euclidean norm" if encoder.normalised else ""),
            "dtype": dtype,
            "d_in": encoder.d_model,
            "n_rows": n,
            "n_examples": len(examples),
            "slices": [{"layer": None, "position": None, "start": 0, "stop": n}],
            "split": split_how,
            "skipped": plan.skipped,
            "tokens": plan.n_tokens,
            "seconds": round(state.seconds, 3),
            "compute": state.how,
            "answers": None,
            "spec": spec,
        }
        return place.finish(manifest, drop=(STATE,))


def estimate_pooled(
    encoder: Encoder, examples: pd.DataFrame, *, text: str = "question", dtype: str = "float32", measure: bool = True
) -> Estimate:
    """As `sae.capture.estimate`, for `capture_pooled`.

    Raises:
        UserError: as `capture_pooled` for its arguments.
    """
    import torch

    check_choice("dtype", dtype, DTYPES)
    plan = make_pooled_plan(encoder, examples.reset_index(drop=True), text)
    seconds = None
    if measure:
        batches = plan.batches(BATCH_SIZE, batch_tokens_for(encoder.device))
        middle = len(batches) // 2
        chosen = batches[middle : middle + torch.get_num_threads()]
        deque(embed_batches(encoder, plan, chosen[:1]), maxlen=0)  # warms up
        started = time.perf_counter()
        deque(embed_batches(encoder, plan, chosen), maxlen=0)
        read = sum(len(plan.ids[place]) for batch in chosen for place in batch)
        seconds = (time.perf_counter() - started) / read * plan.n_tokens
    n = len(plan.numbers)
    return Estimate(n, n * encoder.d_model * np.dtype(dtype).itemsize, plan.n_tokens, len(plan.skipped), seconds)


def how_pooled(encoder: Encoder, batch_size: int) -> dict[str, Any]:
    """What decides the last bits beside the spec."""
    return {
        "device": str(encoder.device),
        "kernel": encoder.kernel,
        "batch_size": batch_size,
        "batch_tokens": batch_tokens_for(encoder.device),
    }


def make_pooled_plan(encoder: Encoder, examples: pd.DataFrame, text: str) -> PooledPlan:
    """Tokenize; a text without a word, or longer than the model reads, is skipped.

    Raises:
        UserError: for an unknown choice, no examples, a missing column, or if all texts are skipped.
    """
    check_choice("text", text, TEXTS)
    needed = ("question", "answer") if text == "question+answer" else ("question",)
    if lacking := [column for column in needed if column not in examples]:
        raise UserError(f"the examples have no column {lacking[0]!r}: text {text!r} can't be taken")
    if not len(examples):
        raise UserError("there are no examples to capture")
    answers = examples["answer"] if "answer" in examples else [None] * len(examples)
    texts = [example_text(q, a, text) for q, a in zip(examples["question"], answers, strict=True)]
    plan = PooledPlan([], [], [])
    for number, (words, ids) in enumerate(zip(texts, encoder.tokenize(texts), strict=True)):
        too_long = encoder.context is not None and len(ids) > encoder.context
        if too_long or not ids or not words.strip():
            reason = f"longer than the {encoder.context:,} tokens that the model reads" if too_long else "no words"
            plan.skipped.append({"example": number, "tokens": len(ids), "reason": reason})
        else:
            plan.ids.append(ids)
            plan.numbers.append(number)
    if not plan.numbers:
        first = plan.skipped[0]
        raise UserError(
            f"none of the {len(examples):,} texts can be read: example {first['example']}: {first['reason']}"
        )
    return plan


def _embed_all(
    encoder: Encoder,
    plan: PooledPlan,
    dtype: np.dtype,
    place: Workplace,
    state: State,
    progress: Progress,
    shards: Shards | None,
) -> None:
    """Fill activations.npy, from the first batch that state.json doesn't count as done."""

    def write(batch: list[int], vectors: np.ndarray, writer: NpyWriter) -> int:
        values = stored(vectors, dtype, "the pooled vectors", lambda row: plan.numbers[batch[row]])
        for row, text in enumerate(batch):
            writer.write(text, values[row : row + 1])
        return len(batch)

    def read(left: list[list[int]], tick: Callable[[], None]) -> Generator[np.ndarray, None, None]:
        return shards.pooled(left, tick) if shards else embed_batches(encoder, plan, left, tick)

    batches = plan.batches(state.how["batch_size"], state.how["batch_tokens"])
    work = Work(
        batches=batches,
        weights=[sum(len(plan.ids[text]) for text in batch) for batch in batches],
        read=read,
        write=write,
        flush=lambda: None,
        stage="embedding (tokens)",
    )
    fill(work, (len(plan.ids), encoder.d_model), dtype, place, state, progress)


def embed_batches(
    encoder: Encoder, plan: PooledPlan, batches: list[list[int]], tick: Callable[[], None] = lambda: None
) -> Generator[np.ndarray, None, None]:
    """For each batch, in order, float32 [texts, d_model]."""
    from sae.language_models.cores import in_order

    def embed(batch: list[int], stop: Event) -> np.ndarray:
        if stop.is_set():
            return np.empty((0, encoder.d_model), np.float32)
        return encoder.embed([plan.ids[text] for text in batch]).cpu().numpy()

    yield from in_order(embed, batches, workers=encoder.workers, tick=tick)
