"""Which runs are trained as one: the same shape, the same batches, and on a GPU one batched product for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.training.config import TrainingConfig
from sae.training.rows import Rows
from sae.training.topk_config import TopKConfig
from sae.training.trainer import Trainer

#: Who trains what has no hand-written step: a run at a time, by autograd.
TRAINERS = {
    "topk": "sae.training.topk_autograd:TopKAutogradTrainer",
    "binary": "sae.training.binary:BinaryTrainer",
    "standard": "sae.training.standard:StandardTrainer",
    "matryoshka": "sae.training.matryoshka:MatryoshkaTrainer",
    "panneal": "sae.training.panneal:PAnnealTrainer",
    "gated": "sae.training.gated:GatedTrainer",
    "jumprelu": "sae.training.jumprelu:JumpReLUTrainer",
    "batchtopk": "sae.training.batchtopk:BatchTopKTrainer",
    "matryoshka-batchtopk": "sae.training.batchtopk:MatryoshkaBatchTopKTrainer",
    "transcoder": "sae.training.transcoder:TranscoderTrainer",
    "crosscoder": "sae.training.crosscoder:CrosscoderTrainer",
    "deep-topk": "sae.training.deep:DeepTopKTrainer",
}


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
        alone = torch.device(device).type == "cpu" or not is_plain_topk(config)
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

    plain = [config for config in configs if isinstance(config, TopKConfig) and is_plain_topk(config)]
    if processes() > 1:
        if not plain:
            raise UserError(
                "--processes shares the batches of topk runs without mechanisms or multi_topk only: train others with "
                "one process"
            )
        return DataParallelTrainer(plain, rows, principal)
    if not plain:
        module, name = TRAINERS[configs[0].architecture].split(":")
        return getattr(import_module(module), name)(configs[0], rows, principal)
    if len(plain) == 1 and rows.device.type == "cpu":
        from sae.training.sparse import SparseTrainer

        return SparseTrainer(plain[0], rows, principal)
    from sae.training.batched import BatchedTrainer

    return BatchedTrainer(plain, rows, principal)


def is_plain_topk(config: TrainingConfig) -> bool:
    """Whether the hand-written steps train it."""
    if config.architecture != "topk" or not isinstance(config, TopKConfig):
        return False
    return not (config.has_mechanisms or config.multi_topk)
