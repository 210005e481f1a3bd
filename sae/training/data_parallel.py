"""One SAE over several processes: each takes its share of every batch, and what is summed over rows is summed over all.

The processes are torchrun's. Gradients, the loss, AuxK's statistics of the batch and which features fired become those
of the whole batch by all-reduce, so every process makes the same update; nothing else of a step knows of it. One
process leads: it plans, measures and writes. The others follow its orders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sae.common.errors import ProcessLost, UserError
from sae.training.batched import BatchedTrainer
from sae.training.rows import Rows
from sae.training.topk_config import TopKConfig

# The leader measures for as long as it takes. That a process is gone is for torchrun to notice, not for a clock.
PATIENCE = timedelta(days=7)


def processes() -> int:
    """How many processes share each batch; 1 where none were joined."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun started with this one, until the end; yields the device of this process.

    Args:
        device: `cuda` stands for this process's own GPU, by its number on its machine.

    Raises:
        UserError: if the machine has fewer GPUs than processes, or the device is one that processes can't share.
    """
    kind, local = torch.device(device).type, int(os.environ["LOCAL_RANK"])
    if kind == "mps":
        raise UserError("--processes works on cuda and cpu: Apple's GPU can't be shared between processes")
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(
                f"{os.environ['LOCAL_WORLD_SIZE']} processes need a GPU each; here are {torch.cuda.device_count()}: "
                "take fewer --processes"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    yield device
    dist.destroy_process_group()  # not after an error: the others may be in the middle of a step


def lead(order: Any) -> None:
    """Tell the processes that follow, if there are any, what comes next; None is the end."""
    if processes() > 1:
        _broadcast(order)


def orders() -> Iterator[Any]:
    """What the leader tells, to its end.

    Raises:
        ProcessLost: if the leader is gone.
    """
    while (order := _broadcast(None)) is not None:
        yield order


def _broadcast(order: Any) -> Any:
    held = [order]
    with _connected():
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # also DistBackendError and DistNetworkError
        raise ProcessLost(f"another process of this job is gone ({str(error).splitlines()[0]})") from error


class StepFailed(Exception):
    """A process can't go on in the middle of a step, where the others wait for it: the job can't either."""


class DataParallelTrainer(BatchedTrainer):
    """As `BatchedTrainer`, over the processes that were joined. `step` takes the whole batch in each of them.

    Steps raise ProcessLost if another process is gone, and StepFailed for what ends only this one.
    """

    def __init__(self, configs: Sequence[TopKConfig], rows: Rows, principal: Tensor | None = None) -> None:
        self._rank, self._processes = dist.get_rank(), dist.get_world_size()
        with _fatal():
            super().__init__(configs, rows, principal)
        self._recorded = None  # such a step is not bound by launches

    def align(self) -> None:
        """Start from the first process's weights, moments and step."""
        counters = torch.tensor([self.step_number, self.rows_seen], device=self.device)
        with _connected():
            for held in (counters, *self.held().values()):
                dist.broadcast(held, src=0)
        self.step_number, self.rows_seen = (int(value) for value in counters)
        self._place()

    def step(self, x: Tensor) -> Tensor:
        with _fatal():
            return super().step(x)

    def _own(self, x: Tensor) -> Tensor:
        return x.tensor_split(self._processes)[self._rank]

    def _over_processes(self, sums: list[Tensor], fired: Tensor | None = None) -> list[Tensor]:
        with _connected():
            under_way = [dist.all_reduce(one, async_op=True) for one in sums]
            if fired is not None:
                under_way.append(dist.all_reduce(fired.view(torch.uint8), dist.ReduceOp.MAX, async_op=True))
            for one in under_way:
                one.wait()
        return sums


@contextmanager
def _fatal() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise StepFailed(str(error).splitlines()[0] if str(error) else "out of memory") from error
