"""What a capture will cost, before it starts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import thinking
from .forward import batch_tokens_for, read_batches
from .plan import DTYPES, check_choice, make_plan
from .thinking import BATCH_SIZE, ThoughtPlan

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel
    from sae.language_models.codi.model import Codi

#: Batches grow until one takes this long, or is whole: a large model on a CPU is not waited for.
_SECONDS = 1.5


@dataclass(frozen=True)
class Estimate:
    """Rows, bytes of activations.npy, tokens to read, texts skipped; seconds of forward passes if measured."""

    rows: int
    bytes: int
    tokens: int
    skipped: int
    seconds: float | None


def estimate(
    model: LanguageModel,
    examples: pd.DataFrame,
    *,
    layers: Sequence[int],
    positions: str = "last",
    text: str = "question",
    dtype: str = "float16",
    batch_size: int = 64,
    measure: bool = True,
) -> Estimate:
    """Count rows and bytes exactly; with `measure` read a few texts of middling length to tell the time.

    Raises:
        UserError: as `capture_language_model` for its arguments.
    """
    check_choice("dtype", dtype, DTYPES)
    wanted = model.check_layers(layers)
    plan = make_plan(model, examples, positions, text)
    rows = plan.rows_per_layer * len(wanted)
    seconds = None
    if measure:
        import torch

        batches = plan.batches(batch_size, batch_tokens_for(model.device))
        middle = len(batches) // 2
        # As many at once as there are cores, and one before them that warms up.
        chosen = batches[middle : middle + torch.get_num_threads()]
        tokens = sum(len(plan.tokens[place].ids) for batch in chosen for place in batch)
        deque(read_batches(model, plan, chosen[:1], wanted[:1]), maxlen=0)
        started = time.perf_counter()
        deque(read_batches(model, plan, chosen, wanted), maxlen=0)
        seconds = (time.perf_counter() - started) / tokens * plan.n_tokens
    width = model.d_model * np.dtype(dtype).itemsize
    return Estimate(rows, rows * width, plan.n_tokens, len(plan.skipped), seconds)


def estimate_thoughts(
    codi: Codi,
    examples: pd.DataFrame,
    *,
    layers: Sequence[int],
    steps: Sequence[int] | None = None,
    dtype: str = "float16",
    batch_size: int = BATCH_SIZE,
    measure: bool = True,
) -> Estimate:
    """As `estimate`, for `capture_thoughts`; the time is of thinking and answering, which no choice of layers changes.

    Raises:
        UserError: as `capture_thoughts` for its arguments.
    """
    check_choice("dtype", dtype, DTYPES)
    wanted, at = thinking.check_layers(codi, layers), thinking.check_steps(codi, steps)
    plan = thinking.make_thought_plan(codi, examples)
    n = len(plan.numbers)
    seconds = _thinking_seconds(codi, plan, wanted, at, batch_size) if measure else None
    return Estimate(
        n * len(wanted) * len(at),
        thought_bytes(n, len(wanted), len(at), codi.d_model, dtype),
        plan.n_tokens,
        len(plan.skipped),
        seconds,
    )


def thought_bytes(n_problems: int, n_layers: int, n_steps: int, d_model: int, dtype: str = "float16") -> int:
    """Bytes of the numbers in activations.npy, for a model that need not be here."""
    return n_problems * n_layers * n_steps * d_model * np.dtype(dtype).itemsize


def _thinking_seconds(codi: Codi, plan: ThoughtPlan, layers: list[int], steps: list[int], batch_size: int) -> float:
    """From a batch of middling questions for each core, smaller where a few questions take long already."""
    from sae.language_models.cores import workers_for

    thinking.prepare(codi)
    batches = plan.batches(batch_size, thinking.batch_tokens_for(codi))
    middle = len(batches) // 2

    def took(chosen: list[list[int]]) -> float:
        started = time.perf_counter()
        deque(thinking.think_batches(codi, plan, chosen, layers, steps), maxlen=0)
        return time.perf_counter() - started

    most = max(len(batch) for batch in batches)
    workers = workers_for(codi.language_model)
    took([batches[middle][:1]])  # the first pass sets things up
    size = 1
    while True:
        chosen = [batch[:size] for batch in batches[middle : middle + workers]]
        seconds = took(chosen)
        if seconds > _SECONDS or size >= most:
            return seconds / sum(map(len, chosen)) * len(plan.numbers)
        size *= 8
