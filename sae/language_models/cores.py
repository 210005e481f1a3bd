"""Batches on as many cores as there are: each is worked on by one thread, and results come in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import torch

from .blocks import text_config

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often `tick` is called while a result is waited for.
_TICK_SECONDS = 0.2


def workers_for(model: Any) -> int:
    """How many batches are worked on at once: one for each thread of torch on a CPU, else one.

    Also one where position tables grow with the text: two forward passes of a Hugging Face model would share them.
    """
    rope = getattr(text_config(model), "rope_parameters", None) or {}
    kinds = {rope.get("rope_type")} | {part.get("rope_type") for part in rope.values() if isinstance(part, dict)}
    device = next(model.parameters()).device
    return torch.get_num_threads() if device.type == "cpu" and not kinds & {"dynamic", "longrope"} else 1


def in_order(
    work: Callable[[Item, threading.Event], Result],
    items: Iterable[Item],
    *,
    workers: int,
    tick: Callable[[], None] = lambda: None,
) -> Generator[Result, None, None]:
    """`work(item, stop)` of each item, in the order of `items`, at most a few items ahead of the caller.

    Every worker computes with one thread of torch: nothing waits for the slowest core at the end of each small
    operation, and a result does not depend on the number of cores.

    Args:
        work: must return soon once `stop` is set.
        tick: called several times a second while waiting; what it raises ends everything.
    """
    before = torch.get_num_threads()
    stop = threading.Event()
    # torch's number of threads belongs to the thread that starts an operation.
    pool = ThreadPoolExecutor(workers, "batches", initializer=torch.set_num_threads, initargs=(1,))
    waiting: deque[Future[Result]] = deque()

    def first() -> Result:
        while not waiting[0].done():
            tick()
            wait([waiting[0]], timeout=_TICK_SECONDS)
        return waiting.popleft().result()

    try:
        for item in items:
            waiting.append(pool.submit(work, item, stop))
            # A few ahead keep the cores busy without holding more than a few results.
            if len(waiting) > 2 * workers:
                yield first()
        while waiting:
            yield first()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)
