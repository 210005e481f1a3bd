"""What training will cost on this device, from a second of it."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from sae.models import build as build_model
from sae.training.config import TrainingConfig
from sae.training.group import build, groups
from sae.training.rows import Rows, side_by_side
from sae.training.sparse import SparseTrainer
from sae.training.topk_config import TopKConfig

STEPS = 5  # that are timed at least; three more come before


class Pilot(NamedTuple):
    """Rows to be trained on in earnest, for runs with so few of them that features die and AuxK has work."""

    rows: Rows
    principal: Tensor

    def needed(self, config: TrainingConfig) -> bool:
        """They are rows of one slice, which a transcoder can't be trained on."""
        return self.rows.n < 2 * config.d_sae and sum(config.widths(self.rows.d_in)) == self.rows.d_in


def seconds_per_step(
    configs: Sequence[TrainingConfig], d_in: int, device: str, budget: float = 0.15, pilot: Pilot | None = None
) -> float:
    """Median time of a step of one group, after some to warm up; takes about `budget` seconds.

    Of a step late in a run: every feature has fired before. On one batch of random rows there are no dead features, and
    AuxK has no work: on enough rows the default start leaves hardly any. With a `pilot` that needs it, the fourth epoch
    on its rows is timed instead.
    """
    if pilot is not None and pilot.needed(configs[0]):
        return _fourth_epoch(configs, pilot)
    generator = torch.Generator().manual_seed(0)
    sides = [torch.randn(configs[0].batch_size, width, generator=generator) for width in configs[0].widths(d_in)]
    alive = [dataclasses.replace(c, auxk_window=10**12) if isinstance(c, TopKConfig) else c for c in configs]
    rows = side_by_side(*(side.to(device) for side in sides))
    trainer = build(alive, rows, torch.eye(d_in))
    if isinstance(trainer, SparseTrainer):
        trainer.touched.fill_(1)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < STEPS + 3 or time.perf_counter() - started < budget:
        times.append(_timed(lambda: [trainer.step(batch) for batch in rows.batches(0, 0, rows.n)], device))
    return statistics.median(times[3:])


def _fourth_epoch(configs: Sequence[TrainingConfig], pilot: Pilot) -> float:
    trainer = build(configs, pilot.rows, pilot.principal)
    times = [
        _timed(lambda batch=batch: trainer.step(batch), str(pilot.rows.device))  # type: ignore[misc]
        for epoch in range(4)
        for batch in pilot.rows.batches(configs[0].seed, epoch, configs[0].batch_size)
    ]
    return statistics.median(times[-trainer.steps_per_epoch :])


def _timed(work: Callable[[], object], device: str) -> float:
    begun = time.perf_counter()
    work()
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - begun


def run_bytes(config: TrainingConfig, d_in: int) -> int:
    """Memory of a run in training: parameters, two moments, and one batch with its pre-activations, in float32."""
    held = config.batch_size * (config.d_sae + 3 * sum(config.widths(d_in)))
    return 4 * (3 * parameters(config, d_in) + held)


def parameters(config: TrainingConfig, d_in: int) -> int:
    """How many numbers the model learns."""
    return _parameters(config.model_architecture, d_in, json.dumps(config.model()))


@lru_cache(maxsize=1024)
def _parameters(architecture: str, d_in: int, described: str) -> int:
    with torch.device("meta"):  # shapes alone
        model = build_model(architecture, d_in=d_in, **json.loads(described))
    return sum(parameter.numel() for parameter in model.parameters())


def total_seconds(
    configs: Sequence[TrainingConfig], d_in: int, n_rows: int, device: str, pilot: Pilot | None = None
) -> dict[tuple, float]:
    """Training seconds of each configuration by `cell_key`.

    On a CPU see `over_k`; on a GPU groups are probed, and each of their runs bears its share. Configurations that
    differ in the seed alone are probed once.
    """

    def seconds(members: Sequence[TrainingConfig]) -> float:
        steps = members[0].epochs * -(-n_rows // members[0].batch_size)
        return steps * seconds_per_step(members, d_in, device, pilot=pilot) / len(members)

    if torch.device(device).type == "cpu":
        return over_k(configs, lambda config: seconds([config]))
    different = list({cell_key(config): config for config in configs}.values())
    found: dict[tuple, float] = {}
    for group in groups(different, device):
        members = [different[number] for number in group]
        each = seconds(members)
        found |= {cell_key(config): each for config in members}
    return found


def over_k(configs: Sequence[TrainingConfig], measure: Callable[[TrainingConfig], float]) -> dict[tuple, float]:
    """`measure` of each configuration by `cell_key`: taken at the least and the largest K of those that differ in K
    alone, and on the straight line between.

    Work grows linearly in K: each winner adds its share to decoding and to the gradients.
    """
    alike: dict[tuple, dict[int, TrainingConfig]] = {}
    for config in configs:
        alike.setdefault(cell_key(dataclasses.replace(config, k=1)), {})[config.k] = config
    found: dict[tuple, float] = {}
    for by_k in alike.values():
        low, high = min(by_k), max(by_k)
        least = measure(by_k[low])
        slope = (measure(by_k[high]) - least) / (high - low) if high > low else 0.0
        found |= {cell_key(config): max(least + slope * (k - low), 0.0) for k, config in by_k.items()}
    return found


def cell_key(config: TrainingConfig) -> tuple:
    """What the cost of a run depends on: everything but the seed."""
    return tuple((name, value) for name, value in config.as_dict().items() if name != "seed")
