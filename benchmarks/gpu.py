"""`python -m benchmarks.gpu [--device cuda] [--precision tf32]`: wall seconds of the whole grid of 12 on a GPU.

The members of one d_sae are trained as the app trains them, in one group. Everything is timed that a grid waits for:
the initial weights, recording, and all steps; rows are on the device before, and principal directions known.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks import data
from benchmarks.grid import D_IN
from benchmarks.task import BATCH_SIZE, EPOCHS, GRID, Cell, Task
from sae.common.devices import available, choose
from sae.training.group import build, groups
from sae.training.rows import ResidentRows
from sae.training.topk_config import TopKConfig


def measure(rows: Tensor, cells: Sequence[Cell], device: str, precision: str, epochs: int = EPOCHS) -> dict[str, Any]:
    """Seconds by group and part.

    Args:
        rows: as `Task.rows`.
    """
    task = Task.on(rows)
    resident = ResidentRows(rows.to(device))
    found = []
    for d_sae, of_size in itertools.groupby(cells, key=lambda cell: cell.d_sae):
        configs = [
            TopKConfig(d_sae=d_sae, k=cell.k, epochs=epochs, batch_size=BATCH_SIZE, precision=precision)
            for cell in of_size
        ]
        for numbers in groups(configs, device):
            found.append(_group([configs[number] for number in numbers], resident, task.principal))
    return {
        "device": next(one.title for one in available() if one.name == device),
        "precision": precision,
        "seconds": sum(group["start_seconds"] + group["step_seconds"] for group in found),
        "step_seconds": sum(group["step_seconds"] for group in found),
        "groups": found,
    }


def _group(configs: Sequence[TopKConfig], rows: ResidentRows, principal: Tensor) -> dict[str, Any]:
    _wait(rows.device)
    begun = time.perf_counter()
    trainer = build(configs, rows, principal)
    _wait(rows.device)
    started = time.perf_counter()
    for epoch in range(configs[0].epochs):
        for batch in rows.batches(0, epoch, BATCH_SIZE):
            trainer.step(batch)
    _wait(rows.device)
    ended = time.perf_counter()
    return {
        "d_sae": configs[0].d_sae,
        "k": [config.k for config in configs],
        "steps": trainer.step_number,
        "start_seconds": started - begun,
        "step_seconds": ended - started,
    }


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def table(document: dict[str, Any]) -> str:
    lines = [f"The grid of 12 on {document['device']}, {document['precision']}, wall seconds", ""]
    lines += ["| d_sae | K | steps | initial weights | steps | a step, ms |", "|---|---|---|---|---|---|"]
    for group in document["groups"]:
        each = 1e3 * group["step_seconds"] / group["steps"]
        ks = ", ".join(map(str, group["k"]))
        lines.append(
            f"| {group['d_sae']:,} | {ks} | {group['steps']} | {group['start_seconds']:.2f} | "
            f"{group['step_seconds']:.2f} | {each:.2f} |"
        )
    return "\n".join([*lines, "", f"{document['seconds']:.2f} s, of these {document['step_seconds']:.2f} s in steps"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="tf32", choices=("float32", "tf32", "bfloat16"))
    parser.add_argument("--json", action="store_true", help="one document instead of the table")
    arguments = parser.parse_args()
    document = measure(data.planted(D_IN).train, GRID, choose(arguments.device), arguments.precision)
    print(json.dumps(document, indent=1) if arguments.json else table(document))


if __name__ == "__main__":
    main()
