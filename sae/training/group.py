"""Which runs are trained as one: the same shape, the same batches, and on a GPU one batched product for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.training.binary_config import BinaryConfig
from sae.training.config import TrainingConfig
from sae.training.rows import Rows
from sae.training.topk_config import TopKConfig
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
        alone = torch.device(device).type == "cpu" or config.architecture != "topk"
        alike = (dataclasses.replace(config, k=1), started[number] if started else 0)
        key = number if alone else alike
        found.setdefault(key, []).append(number)
    return list(found.values())


def build(configs: Sequence[TrainingConfig], rows: Rows, principal: Tensor | None = None) -> Trainer:
    """The trainer of a group, for the device that the rows are on and the processes that were joined.

    Raises:
        UserError: for several processes and an architecture whose batches can't be shared between them.
    """
    from sae.training.data_parallel import DataParallelTrainer, processes

    binary = [config for config in configs if isinstance(config, BinaryConfig)]
    topk = [config for config in configs if isinstance(config, TopKConfig)]
    if processes() > 1:
        if binary:
            raise UserError("--processes shares the batches of topk runs only: train binary codes with one process")
        return DataParallelTrainer(topk, rows, principal)
    if binary:
        from sae.training.binary import BinaryTrainer

        return BinaryTrainer(binary[0], rows)
    if len(topk) == 1 and rows.device.type == "cpu":
        from sae.training.sparse import SparseTrainer

        return SparseTrainer(topk[0], rows, principal)
    from sae.training.batched import BatchedTrainer

    return BatchedTrainer(topk, rows, principal)
