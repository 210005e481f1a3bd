"""A step recorded as a CUDA graph and replayed: one launch in place of some forty."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Step = Callable[[Tensor, bool], Tensor]

WARM_UP = 3  # steps run as they are before recording: libraries choose their kernels and allocate in them


class Graph(NamedTuple):
    """A recorded step: it reads `x` and leaves `result`, both at their places."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    result: Tensor


class Recorded:
    """Replays `compute(x, flag)`, one step, whose every other input and output stands at a fixed place on the device.

    Each number of rows has a recording of its own (an epoch's last batch is smaller), and so has each flag. Recording
    executes nothing, so each call is exactly one step. All recordings share one pool of memory: they are replayed on
    one stream, and a result is copied before the next.

    Needs a GPU by CUDA.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()
        self._calls: dict[tuple[int, bool], int] = {}
        self._graphs: dict[tuple[int, bool], Graph] = {}

    def __call__(self, compute: Step, x: Tensor, flag: bool) -> Tensor:
        key = (len(x), flag)
        if key not in self._graphs:
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] <= WARM_UP:
                return self._aside(compute, x, flag)
            self._graphs[key] = self._record(compute, torch.empty_like(x), flag)
        graph, place, result = self._graphs[key]
        place.copy_(x)
        graph.replay()
        return result.clone()

    def _record(self, compute: Step, x: Tensor, flag: bool) -> Graph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            result = compute(x, flag)
        return Graph(graph, x, result)

    def _aside(self, compute: Step, x: Tensor, flag: bool) -> Tensor:
        """On the stream that will be recorded, as recording asks for."""
        now = torch.cuda.current_stream()
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            result = compute(x, flag)
        now.wait_stream(self._stream)
        result.record_stream(now)  # made on the other stream, read on this one
        return result
