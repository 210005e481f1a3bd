"""CPU time of a step, implementations interleaved in one process."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

import torch

from benchmarks.task import BATCH_SIZE, Implementation, Task

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


class Effort(NamedTuple):
    """How much is measured: `blocks` of `steps` each, after `warmup` steps.

    Ours is warmed up for at least an epoch: a step of it costs less while some features have never fired. A peer's step
    always does the same work.
    """

    blocks: int
    steps: int
    warmup: int = 2


class Times(NamedTuple):
    """CPU milliseconds a step: the median over blocks, and the quartiles."""

    median: float
    lower: float
    upper: float


def one_thread() -> None:
    """One thread for everything that counts them. Numba reads its variable when it is imported, which is later."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    torch.set_num_threads(1)


def keep_memory() -> None:
    """Let the process keep what it frees, where its allocator is glibc's.

    Otherwise every large temporary is mapped anew, page by page: more than half of a step of the peer that makes the
    largest, at a price that belongs to the kernel and the virtual machine.
    """
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 2**28)):
        _glibc("mallopt", option, value)


def return_memory() -> None:
    """Give back what `keep_memory` keeps and nothing uses."""
    gc.collect()
    _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def interleaved(task: Task, implementations: Mapping[str, type[Implementation]], effort: Effort) -> dict[str, Times]:
    """Times of each implementation on `task`, block by block in turn: what else the machine does falls on all alike.

    Fetching the batches is not counted.
    """
    epoch = len(task.rows) // BATCH_SIZE
    running = {name: (kind(task), _warmup(name, epoch, effort)) for name, kind in implementations.items()}
    done = max(warmup for _, warmup in running.values())
    for number in range(done):
        batch = task.batch(number)
        for implementation, warmup in running.values():
            if number >= done - warmup:
                implementation.step(batch)
    spent: dict[str, list[float]] = {name: [] for name in running}
    names = list(running)
    for block in range(effort.blocks):
        batches = [task.batch(done + block * effort.steps + step) for step in range(effort.steps)]
        for name in names[block % len(names) :] + names[: block % len(names)]:
            implementation = running[name][0]
            begun = time.process_time()
            for batch in batches:
                implementation.step(batch)
            spent[name].append(1e3 * (time.process_time() - begun) / effort.steps)
    return {name: _summary(values) for name, values in spent.items()}


def _warmup(name: str, epoch: int, effort: Effort) -> int:
    return max(epoch, effort.warmup) if name.startswith("ours") else effort.warmup


def _summary(values: list[float]) -> Times:
    if len(values) < 2:
        return Times(values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Times(median, lower, upper)
