"""What a step costs as d_sae and the number of rows grow, with the memory it takes beside the estimate.

`python -m benchmarks.scale [--largest 131072] [--d-in 512] [--json]`: each point in a process of its own, so that its
peak memory is its own; CPU time at one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

STEPS = 12
D_SAE = (2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
ROWS = (4096, 16_384, 65_536, 262_144)


def step(d_in: int, d_sae: int, k: int = 32) -> dict[str, Any]:
    """Seconds of a step late in a run, and peak memory above what the process has before it holds an SAE."""
    import torch

    from benchmarks.limits import peak_bytes
    from sae.training.group import build
    from sae.training.probe import run_bytes
    from sae.training.rows import ResidentRows
    from sae.training.topk_config import TopKConfig

    torch.set_num_threads(1)
    config = TopKConfig(d_sae=d_sae, k=k, decoder_init="random", auxk_coefficient=0.0)
    x = torch.randn(256, d_in, generator=torch.Generator().manual_seed(0))
    build([TopKConfig(d_sae=64, k=4, decoder_init="random")], ResidentRows(x)).step(x)  # compiles
    before = peak_bytes()
    trainer = build([config], ResidentRows(x))
    trainer.touched.fill_(1)  # type: ignore[attr-defined]
    times = []
    for _ in range(STEPS):
        begun = time.process_time()
        trainer.step(x)
        times.append(time.process_time() - begun)
    return {
        "d_sae": d_sae,
        "k": k,
        "d_in": d_in,
        "step_seconds": statistics.median(times[2:]),
        "peak_bytes": peak_bytes() - before,
        "estimated_bytes": run_bytes(config, d_in),
    }


def rows(d_in: int, n: int, d_sae: int = 1024, k: int = 32) -> dict[str, Any]:
    """Seconds of an epoch over n rows, streamed, and of what comes after it."""
    import tempfile
    from pathlib import Path

    import numpy as np
    import torch

    from benchmarks.limits import peak_bytes
    from sae.analysis.codes_file import write_codes
    from sae.analysis.features import feature_table
    from sae.evaluation.reconstruction import encode_rows
    from sae.training.loop import train
    from sae.training.streamed_rows import StreamedRows
    from sae.training.topk_config import TopKConfig

    torch.set_num_threads(1)
    config = TopKConfig(d_sae=d_sae, k=k, decoder_init="random", auxk_coefficient=0.0, epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        generator = np.random.default_rng(0)
        out = np.lib.format.open_memmap(path, "w+", np.float16, (n, d_in))
        for start in range(0, n, 8192):
            out[start : start + 8192] = generator.standard_normal((min(8192, n - start), d_in), dtype=np.float32)
        out.flush()
        del out
        x = np.load(path, mmap_mode="r")
        warm = StreamedRows(x[:2048], np.arange(2048), 256, buffer_rows=8192)
        train([config], warm)
        before = peak_bytes()
        data = StreamedRows(x, np.arange(n), 256, buffer_rows=8192)
        begun = time.process_time()
        model = train([config], data)[0].model
        trained = time.process_time()
        codes, _ = encode_rows(model, x, data.moments.mean.numpy(), folder=Path(folder))
        written = write_codes(Path(folder) / "codes.safetensors", *codes, d_sae)
        feature_table(written, example=np.arange(n))
        after = time.process_time()
        return {
            "rows": n,
            "d_in": d_in,
            "d_sae": d_sae,
            "k": k,
            "epoch_seconds": trained - begun,
            "after_seconds": after - trained,
            "peak_bytes": peak_bytes() - before,
        }


def _apart(kind: str, *numbers: int) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.scale", "--point", kind, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--largest", type=int, default=D_SAE[-1], help="d_sae to go up to")
    options.add_argument("--most-rows", type=int, default=ROWS[-1])
    options.add_argument("--d-in", type=int, default=512)
    options.add_argument("--json", action="store_true")
    options.add_argument("--point", nargs="+", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.point:
        work = step if given.point[0] == "step" else rows
        print(json.dumps(work(*map(int, given.point[1:]))))
        return
    found: dict[str, list] = {"d_sae": [], "rows": []}
    for d_sae in (size for size in D_SAE if size <= given.largest):
        found["d_sae"].append(_apart("step", given.d_in, d_sae))
        print(_line(found["d_sae"][-1]), file=sys.stderr, flush=True)
    for n in (count for count in ROWS if count <= given.most_rows):
        found["rows"].append(_apart("rows", given.d_in, n))
        print(_line(found["rows"][-1]), file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(found, indent=1))


def _line(point: dict[str, Any]) -> str:
    if "step_seconds" in point:
        return (
            f"d_sae {point['d_sae']:7,}: {1e3 * point['step_seconds']:8.1f} ms a step, "
            f"{1e6 * point['step_seconds'] / point['d_sae']:.2f} us a feature; "
            f"memory {point['peak_bytes'] / 1e6:,.0f} MB (estimated {point['estimated_bytes'] / 1e6:,.0f})"
        )
    return (
        f"{point['rows']:7,} rows: {1e6 * point['epoch_seconds'] / point['rows']:.1f} us a row in training, "
        f"{1e6 * point['after_seconds'] / point['rows']:.1f} after it; memory {point['peak_bytes'] / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    main()
