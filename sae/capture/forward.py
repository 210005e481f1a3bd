"""The forward passes of a capture, in order, on as many cores as there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from .plan import Plan

if TYPE_CHECKING:
    from sae.language_models import LanguageModel

#: Padded tokens in a batch. On a CPU about a thousand fill the caches; a GPU wants more to do at once.
_CPU_BATCH_TOKENS, _GPU_BATCH_TOKENS = 1024, 32768


def batch_tokens_for(model: LanguageModel) -> int:
    """Padded tokens in a batch on the model's device."""
    return _CPU_BATCH_TOKENS if model.device.type == "cpu" else _GPU_BATCH_TOKENS


def read_batches(
    model: LanguageModel, plan: Plan, batches: list[list[int]], layers: list[int]
) -> Generator[dict[int, np.ndarray], None, None]:
    """For each batch, in order, the planned rows of each layer: float32 [rows of the batch, d_model].

    On a CPU every core reads a batch of its own with one thread: nothing waits at the end of each small operation,
    and a row does not depend on the number of cores. Threads only read; the caller writes.
    """
    import torch

    before = torch.get_num_threads()
    workers = before if model.threads_may_share else 1
    with model.reader(layers) as read:

        def states_of(batch: list[int]) -> dict[int, np.ndarray]:
            states = read(*model.pad([plan.tokens[place].ids for place in batch]))
            of_text = np.repeat(np.arange(len(batch)), [len(plan.indices[place]) for place in batch])
            of_token = np.concatenate([plan.indices[place] for place in batch])
            found = {}
            for layer, hidden in states.items():
                rows, columns = (torch.from_numpy(index.astype(np.int64)) for index in (of_text, of_token))
                values = hidden[rows.to(hidden.device), columns.to(hidden.device)]
                found[layer] = values.to(torch.float32).cpu().numpy()
            return found

        torch.set_num_threads(1)
        # The number of threads of an operation belongs to the thread that starts it.
        pool = ThreadPoolExecutor(workers, "capture", initializer=torch.set_num_threads, initargs=(1,))
        waiting: deque[Future[dict[int, np.ndarray]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(states_of, batch))
                # A few ahead keep the cores busy without holding more than a few batches.
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(before)
