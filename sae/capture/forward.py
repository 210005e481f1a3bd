"""The forward passes of a capture, in order, on as many cores as there are."""

from __future__ import annotations

from collections.abc import Callable, Generator
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from .plan import Plan

if TYPE_CHECKING:
    import torch

    from sae.language_models import LanguageModel

#: Padded tokens in a batch. On a CPU about a thousand fill the caches; a GPU wants more to do at once.
_CPU_BATCH_TOKENS, _GPU_BATCH_TOKENS = 1024, 32768


def batch_tokens_for(device: torch.device) -> int:
    """Padded tokens in a batch on a model's device."""
    return _CPU_BATCH_TOKENS if device.type == "cpu" else _GPU_BATCH_TOKENS


def read_batches(
    model: LanguageModel,
    plan: Plan,
    batches: list[list[int]],
    layers: list[int],
    tick: Callable[[], None] = lambda: None,
) -> Generator[dict[int, np.ndarray], None, None]:
    """For each batch, in order, the planned rows of each layer: float32 [rows of the batch, d_model].

    Threads only read the model; the caller writes. `tick` is called while a batch is waited for.
    """
    import torch

    from sae.language_models.cores import in_order

    with model.reader(layers) as read:

        def states_of(batch: list[int], stop: Event) -> dict[int, np.ndarray]:
            if stop.is_set():
                return {}
            states = read(*model.pad([plan.tokens[place].ids for place in batch]))
            of_text = np.repeat(np.arange(len(batch)), [len(plan.indices[place]) for place in batch])
            of_token = np.concatenate([plan.indices[place] for place in batch])
            rows, columns = (torch.from_numpy(index.astype(np.int64)).to(model.device) for index in (of_text, of_token))
            return {layer: hidden[rows, columns].to(torch.float32).cpu().numpy() for layer, hidden in states.items()}

        yield from in_order(states_of, batches, workers=model.workers, tick=tick)
