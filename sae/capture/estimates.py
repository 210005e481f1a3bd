"""What a capture will cost, before it starts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .forward import batch_tokens_for, read_batches
from .plan import DTYPES, check_choice, make_plan

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel


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

        batches = plan.batches(batch_size, batch_tokens_for(model))
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
