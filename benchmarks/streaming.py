"""Training on rows larger than memory, read in shuffled chunks, against rows that are resident.

`python -m benchmarks.streaming [--gigabytes 20] [--limit 4] [--folder DIR] [--json]` writes random rows (d_in 2,048,
float16) to disk, holds its own memory to `--limit` GB, trains over them, and in between over a part of them that is in
memory. It says what a row costs both ways in wall and in CPU time; on a machine that does other things, the CPU time
(of all threads, so reading ahead is in it) is the one to compare.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.limits import limit_memory, peak_bytes, private_bytes, random_rows
from sae.training.group import build
from sae.training.rows import ResidentRows, Rows
from sae.training.streamed_rows import BUFFER_BYTES, StreamedRows, chunk_rows_for
from sae.training.topk_config import TopKConfig
from sae.training.trainer import Trainer

D_IN, BATCH = 2048, 256
CELLS = ((512, 5), (2048, 20))  # the smallest, for which reading costs most, and one from the middle
RESIDENT_ROWS = 2**16


class Clock:
    """Wall and CPU seconds a row, block by block."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def run(self, trainer: Trainer, batches: Iterator[Tensor], steps: int) -> int:
        rows, wall, cpu = 0, time.perf_counter(), time.process_time()
        for _ in range(steps):
            batch = next(batches, None)
            if batch is None:
                break
            trainer.step(batch)
            rows += len(batch)
        if rows:
            self.wall.append((time.perf_counter() - wall) / rows)
            self.cpu.append((time.process_time() - cpu) / rows)
        return rows


def endless(rows: Rows, seed: int) -> Iterator[Tensor]:
    epoch = 0
    while True:
        yield from rows.batches(seed, epoch, BATCH)
        epoch += 1


def compare(streamed: StreamedRows, resident: ResidentRows, d_sae: int, k: int, buffers: int) -> dict[str, Any]:
    """`buffers` buffers of streamed rows, every fourth time followed by a buffer's worth of resident ones."""
    config = TopKConfig(d_sae=d_sae, k=k, decoder_init="random", auxk_coefficient=0.0, batch_size=BATCH)
    trainer = build([config], resident)
    steps = BUFFER_BYTES // (4 * D_IN) // BATCH
    from_disk, from_memory = streamed.batches(0, 0, BATCH), endless(resident, 0)
    Clock().run(trainer, from_memory, steps)  # compiles, warms up
    Clock().run(trainer, from_disk, steps)
    clocks = {"streamed": Clock(), "resident": Clock()}
    rows = 0
    for number in range(buffers):
        rows += clocks["streamed"].run(trainer, from_disk, steps)
        if number % 4 == 3:
            clocks["resident"].run(trainer, from_memory, steps)
    found: dict[str, Any] = {"d_sae": d_sae, "k": k, "rows_streamed": rows}
    for name, clock in clocks.items():
        found[name] = {
            "wall_us_per_row": 1e6 * statistics.median(clock.wall),
            "cpu_us_per_row": 1e6 * statistics.median(clock.cpu),
            "blocks": len(clock.wall),
        }
    for kind in ("wall", "cpu"):
        found[f"rate_{kind}"] = found["resident"][f"{kind}_us_per_row"] / found["streamed"][f"{kind}_us_per_row"]
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gigabytes", type=float, default=20, help="of rows on disk")
    options.add_argument("--limit", type=float, default=4, help="GB of memory that the process may take")
    options.add_argument("--folder", type=Path, default=Path("/tmp/sae-streaming"))
    options.add_argument("--buffers", type=int, default=40, help="of streamed rows (32,768 each) in each measurement")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    n = int(given.gigabytes * 1e9 / 2 / D_IN)
    path = given.folder / f"{n}.npy"
    x = random_rows(path, n, D_IN)
    limit_memory(given.limit)
    begun = time.perf_counter()
    chunk_rows = chunk_rows_for(n, D_IN, "cpu")
    if not chunk_rows:
        print("the rows would fit into memory: take more of them, or a lower limit", file=sys.stderr)
        sys.exit(2)
    streamed = StreamedRows(x, np.arange(n), chunk_rows)
    found: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": given.threads,
        "gigabytes": path.stat().st_size / 1e9,
        "rows": n,
        "d_in": D_IN,
        "limit_gigabytes": given.limit,
        "chunk_rows": chunk_rows,
        "statistics_seconds": time.perf_counter() - begun,
    }
    part = torch.from_numpy(np.array(x[:RESIDENT_ROWS])).float()
    resident = ResidentRows(part)
    found["cells"] = [compare(streamed, resident, d_sae, k, given.buffers) for d_sae, k in CELLS]
    found["private_gigabytes"], found["peak_gigabytes"] = private_bytes() / 1e9, peak_bytes() / 1e9
    if given.json:
        print(json.dumps(found, indent=1))
        return
    print(
        f"{found['gigabytes']:.1f} GB in {n:,} rows of {D_IN:,} (float16), memory held to {given.limit:g} GB: peak "
        f"{found['peak_gigabytes']:.2f} GB resident; statistics of all rows in {found['statistics_seconds']:.0f} s"
    )
    print("d_sae     K   streamed   resident   microseconds a row, CPU (wall)   streamed rate of resident, CPU (wall)")
    for cell in found["cells"]:
        s, r = cell["streamed"], cell["resident"]
        print(
            f"{cell['d_sae']:5}  {cell['k']:4}   {s['cpu_us_per_row']:.1f} ({s['wall_us_per_row']:.1f})   "
            f"{r['cpu_us_per_row']:.1f} ({r['wall_us_per_row']:.1f})   {cell['rate_cpu']:.1%} ({cell['rate_wall']:.1%})"
        )


if __name__ == "__main__":
    main()
