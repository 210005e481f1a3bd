"""What training will cost on this device, from a second of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import torch

from sae.training.config import TrainingConfig
from sae.training.group import build, groups
from sae.training.rows import ResidentRows
from sae.training.sparse import SparseTrainer
from sae.training.topk_config import TopKConfig

STEPS = 8  # that are timed at least; three more come before


def seconds_per_step(configs: Sequence[TrainingConfig], d_in: int, device: str, budget: float = 0.15) -> float:
    """Median time of a step of one group on one batch of random rows, after some to warm up; takes about `budget`
    seconds.

    As late in a run: every feature has fired before. Without dead features, so without AuxK's work: the default start
    leaves hardly any, and with a start that does leave many a run takes longer than this says.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(configs[0].batch_size, d_in, generator=generator).to(device)
    alive = [dataclasses.replace(c, auxk_window=10**12) if isinstance(c, TopKConfig) else c for c in configs]
    rows = ResidentRows(x)
    trainer = build(alive, rows, torch.eye(d_in))
    if isinstance(trainer, SparseTrainer):
        trainer.touched.fill_(1)
    waits = torch.device(device).type != "cpu"
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < STEPS + 3 or time.perf_counter() - started < budget:
        begun = time.perf_counter()
        for batch in rows.batches(0, 0, len(x)):
            trainer.step(batch)
        if waits:
            torch.accelerator.synchronize()
        times.append(time.perf_counter() - begun)
    return sorted(times[3:])[len(times[3:]) // 2]


def run_bytes(config: TrainingConfig, d_in: int) -> int:
    """Memory of a run in training: parameters, two moments, and one batch with its pre-activations, in float32."""
    parameters = 2 * d_in * config.d_sae + config.d_sae + d_in
    return 4 * (3 * parameters + config.batch_size * (config.d_sae + 3 * d_in))


def total_seconds(configs: Sequence[TrainingConfig], d_in: int, n_rows: int, device: str) -> dict[tuple, float]:
    """Training seconds of each configuration by `cell_key`.

    On a CPU see `over_k`; on a GPU groups are probed, and each of their runs bears its share. Configurations that
    differ in the seed alone are probed once.
    """

    def seconds(members: Sequence[TrainingConfig]) -> float:
        steps = members[0].epochs * -(-n_rows // members[0].batch_size)
        return steps * seconds_per_step(members, d_in, device) / len(members)

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
