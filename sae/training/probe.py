"""What training will cost on this device, from a second of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import torch

from sae.training.config import TrainingConfig
from sae.training.trainer import Trainer


def seconds_per_step(config: TrainingConfig, d_in: int, device: str, budget: float = 0.15) -> float:
    """Median time of a step on one batch of random rows, after two to warm up; spends about `budget` seconds.

    Without dead features, so without AuxK's work: the default start leaves hardly any, and with a start that does leave
    many a run takes longer than this says.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(config.batch_size, d_in, generator=generator).to(device)
    alive = dataclasses.replace(config, auxk_window=10**12)
    trainer = Trainer(alive, x, torch.eye(d_in))
    times: list[float] = []
    started = time.monotonic()
    while len(times) < 4 or time.monotonic() - started < budget:
        begun = time.perf_counter()
        trainer.step(x)
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return sorted(times[2:])[len(times[2:]) // 2]


def run_bytes(config: TrainingConfig, d_in: int) -> int:
    """Memory of a run in training: parameters, two moments, gradients, and one batch's pre-activations and their
    gradient, in float32."""
    parameters = 2 * d_in * config.d_sae + config.d_sae + d_in
    return 4 * (4 * parameters + config.batch_size * (3 * config.d_sae + 3 * d_in))


def total_seconds(configs: Sequence[TrainingConfig], d_in: int, n_rows: int, device: str) -> dict[tuple, float]:
    """Training seconds of each configuration, probed once for every different (d_sae, k, settings)."""
    found: dict[tuple, float] = {}
    for config in configs:
        key = cell_key(config)
        if key not in found:
            steps = config.epochs * -(-n_rows // config.batch_size)
            found[key] = steps * seconds_per_step(config, d_in, device)
    return found


def cell_key(config: TrainingConfig) -> tuple:
    """What the cost of a run depends on: everything but the seed."""
    return tuple((name, value) for name, value in config.as_dict().items() if name != "seed")
