"""How long matching the features of two large SAEs takes, and the memory at its peak.

python -m benchmarks.matching [--d-sae 16384] [--d-in 2048]

Two cases: decoders of which half is found again with noise (cosine about .7 to .95), and decoders that have nothing in
common, which is the harder assignment. Figures are wall and CPU seconds of one process and its largest resident size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time

import numpy as np


def decoders(d_sae: int, d_in: int, shared: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two decoders [d_sae, d_in]; a share of the first's rows stands in the second in another place, with noise."""
    generator = np.random.default_rng(seed)
    one = generator.standard_normal((d_sae, d_in), dtype=np.float32)
    other = generator.standard_normal((d_sae, d_in), dtype=np.float32)
    again = generator.permutation(d_sae)[: int(shared * d_sae)]
    noise = np.linspace(0.3, 1.0, len(again), dtype=np.float32)[:, None]
    places = generator.permutation(d_sae)[: len(again)]
    other[places] = one[again] + noise * other[places]
    return one, other


def measure(d_sae: int, d_in: int, shared: float) -> dict[str, float]:
    from sae.analysis.matching import match_directions

    one, other = decoders(d_sae, d_in, shared)
    living = np.ones(d_sae, bool)
    wall, cpu = time.monotonic(), time.process_time()
    found = match_directions(one, other, living, living)
    seconds = {"wall_s": round(time.monotonic() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    return {
        "d_sae": d_sae,
        "d_in": d_in,
        "shared": shared,
        **seconds,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "found_again": round(float((found.features["similarity"] >= 0.7).mean()), 4),
        "total": round(found.total, 3),
        "gap": found.gap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--d-sae", type=int, default=16_384)
    parser.add_argument("--d-in", type=int, default=2_048)
    options = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    for shared in (0.5, 0.0):
        print(json.dumps({"threads": threads, **measure(options.d_sae, options.d_in, shared)}), flush=True)


if __name__ == "__main__":
    main()
