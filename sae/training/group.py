"""Which runs are trained as one: the same shape, the same batches, and on a GPU one batched product for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from sae.training.config import TrainingConfig
from sae.training.rows import Rows
from sae.training.trainer import Trainer


def groups(
    configs: Sequence[TrainingConfig], device: str | torch.device, started: Sequence[int] | None = None
) -> list[list[int]]:
    """Numbers of the configs that are trained together on `device`, in the order in which they first come.

    On a GPU runs that differ in K alone; on a CPU each run by itself, since a step's products fill the cores and its
    weights the cache.

    Args:
        started: the step that each run goes on from, which must be the same in a group; by default 0.
    """
    found: dict[object, list[int]] = {}
    for number, config in enumerate(configs):
        alike = (dataclasses.replace(config, k=1), started[number] if started else 0)
        key = number if torch.device(device).type == "cpu" else alike
        found.setdefault(key, []).append(number)
    return list(found.values())


def build(configs: Sequence[TrainingConfig], rows: Rows, principal: Tensor | None = None) -> Trainer:
    """The trainer of a group, for the device that the rows are on and the processes that were joined."""
    from sae.training.data_parallel import DataParallelTrainer, processes

    if processes() > 1:
        return DataParallelTrainer(configs, rows, principal)
    if len(configs) == 1 and rows.device.type == "cpu":
        from sae.training.sparse import SparseTrainer

        return SparseTrainer(configs[0], rows, principal)
    from sae.training.batched import BatchedTrainer

    return BatchedTrainer(configs, rows, principal)
