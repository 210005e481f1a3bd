"""What training will cost on this device, from a second of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import torch

from sae.training.config import TrainingConfig
from sae.training.group import build, groups
from sae.training.rows import ResidentRows
from sae.training.topk_config import TopKConfig


def seconds_per_step(configs: Sequence[TrainingConfig], d_in: int, device: str, budget: float = 0.15) -> float:
    """Median time of a step of one group on one batch of random rows, after some to warm up; takes about `budget`
    seconds.

    Without dead features, so without AuxK's work: the default start leaves hardly any, and with a start that does leave
    many a run takes longer than this says.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(configs[0].batch_size, d_in, generator=generator).to(device)
    alive = [dataclasses.replace(c, auxk_window=10**12) if isinstance(c, TopKConfig) else c for c in configs]
    trainer = build(alive, ResidentRows(x), torch.eye(d_in))
    waits = torch.device(device).type == "cuda"
    times: list[float] = []
    started = time.monotonic()
    while len(times) < 8 or time.monotonic() - started < budget:
        begun = time.perf_counter()
        trainer.step(x)
        if waits:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return sorted(times[4:])[len(times[4:]) // 2]


def run_bytes(config: TrainingConfig, d_in: int) -> int:
    """Memory of a run in training: parameters, two moments, and one batch with its pre-activations, in float32."""
    parameters = 2 * d_in * config.d_sae + config.d_sae + d_in
    return 4 * (3 * parameters + config.batch_size * (config.d_sae + 3 * d_in))


def total_seconds(configs: Sequence[TrainingConfig], d_in: int, n_rows: int, device: str) -> dict[tuple, float]:
    """Training seconds of each configuration by `cell_key`: groups are probed, and each of their runs bears its share.

    Configurations that differ in the seed alone are probed once.
    """
    different = list({cell_key(config): config for config in configs}.values())
    found: dict[tuple, float] = {}
    for group in groups(different, device):
        members = [different[number] for number in group]
        steps = members[0].epochs * -(-n_rows // members[0].batch_size)
        each = steps * seconds_per_step(members, d_in, device) / len(members)
        found |= {cell_key(config): each for config in members}
    return found


def cell_key(config: TrainingConfig) -> tuple:
    """What the cost of a run depends on: everything but the seed."""
    return tuple((name, value) for name, value in config.as_dict().items() if name != "seed")
