"""What the orthogonality constraint costs: a step with it beside the same step without, on one CPU thread.

    python -m benchmarks.orthogonality                 # d_sae 2,304, d_in 576 and 2,304, batch 2,048
    python -m benchmarks.orthogonality --large         # d_sae 16,384 at d_in 576, and the memory that it takes

CPU time in blocks of a few steps, with and without in turn; the figures are medians over the blocks.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from typing import Any

import torch

from benchmarks.timing import one_thread
from sae.training.config import from_settings
from sae.training.rows import ResidentRows
from sae.training.standard import StandardTrainer
from sae.training.topk_autograd import TopKAutogradTrainer
from sae.training.topk_config import TopKConfig

BATCH = 2048
#: Architectures, and the active features a row that a ReLU is set to have; None leaves it as it starts.
BASES: dict[str, tuple[dict[str, Any], int | None]] = {
    "standard, L0 109": ({"architecture": "standard"}, 109),
    "standard, at its start": ({"architecture": "standard"}, None),
    "topk, K 40": ({"architecture": "topk", "k": 40, "decoder_init": "random"}, None),
}
CONSTRAINTS: dict[str, dict[str, Any]] = {
    "act_cos, 0.1 %": {},
    "act_cos, 0.5 %": {"pair_fraction": 0.005},
    "act_cos, threshold": {"pair_selection": "threshold"},
    "act_pearson, 0.1 %": {"pair_similarity": "act_pearson"},
    "dec_cos, 0.1 %": {"pair_similarity": "dec_cos"},
}


def rows_of(d_in: int, n: int = 2 * BATCH) -> ResidentRows:
    """Sums of about 24 of 4,096 directions, some common and most rare, with noise."""
    generator = torch.Generator().manual_seed(0)
    use = 1 / (torch.arange(4_096) + 10.0)
    use *= 24 / use.sum()
    directions = torch.nn.functional.normalize(torch.randn(len(use), d_in, generator=generator), dim=1)
    strength = torch.empty(n, len(use)).exponential_(generator=generator)
    strength *= torch.rand(strength.shape, generator=generator) < use
    rows = strength @ directions
    return ResidentRows(rows + torch.randn(rows.shape, generator=generator) * (rows.var() / 9).sqrt())


def trainer_of(rows: ResidentRows, d_sae: int, base: tuple[dict[str, Any], int | None], constraint: dict[str, Any]):
    """A trainer by autograd, with a rate that leaves the codes as they are."""
    settings, l0 = base
    config = from_settings({"d_sae": d_sae, "batch_size": BATCH, "lr": 1e-9, **settings, **constraint})
    if isinstance(config, TopKConfig):
        return TopKAutogradTrainer(config, rows)
    trainer = StandardTrainer(config, rows)
    if l0 is not None:
        with torch.no_grad():
            pre = trainer.model.pre_activations(trainer.scaled(rows.x[:256]))
            trainer.model.b_enc.sub_(pre.flatten().kthvalue(int(pre.numel() * (1 - l0 / d_sae))).values)
    return trainer


def compared(d_sae: int, d_in: int, blocks: int, steps: int) -> list[dict[str, Any]]:
    """Milliseconds of a step without, and what each constraint adds, for every base."""
    rows = rows_of(d_in)
    batch = rows.x[:BATCH]
    found = []
    for name, base in BASES.items():
        running = {"none": trainer_of(rows, d_sae, base, {})}
        for constraint, settings in CONSTRAINTS.items():
            running[constraint] = trainer_of(rows, d_sae, base, {"orthogonality": "hinge", **settings})
        for trainer in running.values():
            trainer.step(batch)
        times: dict[str, list[float]] = {constraint: [] for constraint in running}
        for _ in range(blocks):
            for constraint, trainer in running.items():
                begun = time.process_time()
                for _ in range(steps):
                    trainer.step(batch)
                times[constraint].append(1e3 * (time.process_time() - begun) / steps)
        plain = statistics.median(times["none"])
        l0 = running["none"].figures(0)["l0"]
        for constraint in CONSTRAINTS:
            # Each block against the block without that was measured next to it.
            added = statistics.median(a / b - 1 for a, b in zip(times[constraint], times["none"], strict=True))
            line = {"base": name, "d_sae": d_sae, "d_in": d_in, "l0": round(l0, 1), "constraint": constraint}
            found.append({**line, "step_ms": round(plain, 1), "added": round(added, 3)})
            print(f"{name}, d_in {d_in}, {constraint}: {plain:.0f} ms, {added:+.1%}", file=sys.stderr, flush=True)
        del running
    return found


def large(d_sae: int, d_in: int, steps: int) -> list[dict[str, Any]]:
    """Seconds of a step with the constraint and the process's peak memory, for sparse codes and for a ReLU's first."""
    rows = rows_of(d_in)
    found = []
    for name, base in BASES.items():
        trainer = trainer_of(rows, d_sae, base, {"orthogonality": "hinge"})
        times = []
        for _ in range(steps):
            begun = time.process_time()
            trainer.step(rows.x[:BATCH])
            times.append(time.process_time() - begun)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        line = {"base": name, "d_sae": d_sae, "d_in": d_in, "seconds": round(min(times), 2)}
        found.append({**line, "peak_rss_gb_so_far": round(peak / 1e9, 2)})
        print(f"{found[-1]}", file=sys.stderr, flush=True)
        del trainer
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="d_sae 16,384 alone, and the memory that it takes")
    parser.add_argument("--d-in", type=int, nargs="+", default=[576, 2304])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    one_thread()
    if options.large:
        print(json.dumps(large(16_384, options.d_in[0], options.steps), indent=1))
        return
    lines = [line for d_in in options.d_in for line in compared(2_304, d_in, options.blocks, options.steps)]
    print(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
