"""`python -m benchmarks.search [--quick] [--json]`: exact search over sparse binary codes, and cosine over vectors.

A million planted codes of 8,192 bits, one query at a time, the ten nearest by Hamming distance and by Jaccard
distance: over inverted lists, over bitmaps, and with faiss' IndexBinaryFlat where it can be imported (pip install
faiss-cpu). Each finds the same distances. Beside them the exact cosine search over the dense vectors that the codes
stand for, and the codes' recall at 10 against it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy.sparse import csr_matrix

from sae.analysis.packed_codes import BinaryCodes, CodeIndex, cosine_top, recall_at, storage_bits

TOP = 10


class Size(NamedTuple):
    """What is searched: `n` codes of `n_bits` bits, about `k` of them set, for vectors of `d_in` dimensions."""

    n: int
    n_bits: int
    k: int
    d_in: int


FULL = [Size(1_000_000, 8_192, k, 384) for k in (16, 32, 64, 128)]
QUICK = [Size(100_000, 8_192, 32, 64)]
# Where bitmaps are the faster way: 30 % of 1,024 bits.
DENSE = Size(1_000_000, 1_024, 300, 64)


@njit(cache=True)
def _plant(n: int, n_bits: int, k: int, cumulative: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes around n / 50 prototypes: each keeps about 70 % of its prototype's bits and draws the others anew."""
    np.random.seed(seed)
    prototypes = np.searchsorted(cumulative, np.random.random((max(n // 50, 1), k)))
    indptr = np.zeros(n + 1, np.int64)
    indices = np.empty(n * 2 * k, np.uint16)
    has = np.zeros(n_bits, np.bool_)
    written = 0
    for row in range(n):
        prototype = prototypes[np.random.randint(len(prototypes))]
        drawn = min(max(int(np.random.normal(k, 0.3 * k)), 1), 2 * k)
        first = written
        for number in range(drawn):
            bit = prototype[number] if number < k and np.random.random() < 0.7 else -1
            if bit < 0:
                bit = np.searchsorted(cumulative, np.random.random())
            if not has[bit]:
                has[bit] = True
                indices[written] = bit
                written += 1
        indices[first:written].sort()
        for at in range(first, written):
            has[indices[at]] = False
        indptr[row + 1] = written
    return indptr, indices[:written].copy()


def planted(size: Size, seed: int = 0) -> tuple[BinaryCodes, np.ndarray]:
    """Codes with common and rare bits (from about 5 % to 0.1 % of the codes at 32 of 8,192), and the vectors [n, d_in]
    that they stand for: the sum of a random direction for each set bit, with noise a tenth of its size."""
    weights = (np.arange(size.n_bits) + 50.0) ** -0.7
    cumulative = np.cumsum(weights / weights.sum())
    cumulative[-1] = 1.0
    codes = BinaryCodes.from_lists(*_plant(size.n, size.n_bits, size.k, cumulative, seed), size.n_bits)
    generator = np.random.default_rng(seed)
    directions = generator.standard_normal((size.n_bits, size.d_in), np.float32)
    ones = np.ones(len(codes.indices), np.float32)
    x = csr_matrix((ones, codes.indices.astype(np.int32), codes.indptr), (size.n, size.n_bits)) @ directions
    for first in range(0, size.n, 8192):
        rows = x[first : first + 8192]
        noise = generator.standard_normal(rows.shape, np.float32)
        rows += 0.1 * np.linalg.norm(rows, axis=1, keepdims=True) / size.d_in**0.5 * noise
    return codes, x


def timed(work: Callable[[int], Any], n: int) -> dict[str, float]:
    """Milliseconds a call of `work(0)` to `work(n - 1)`, after one to warm up: wall (median, least), CPU (median)."""
    work(0)
    wall, cpu = [], []
    for number in range(n):
        begun, spent = time.perf_counter(), time.process_time()
        work(number)
        cpu.append(1e3 * (time.process_time() - spent))
        wall.append(1e3 * (time.perf_counter() - begun))
    return {"wall": statistics.median(wall), "wall_least": min(wall), "cpu": statistics.median(cpu)}


def measure(size: Size, n_queries: int, threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything about one size.

    Returns:
        `n`, `n_bits`, `k`, `d_in`, `mean_count`, `storage` (bits a vector), `ms` (by way and distance, see `timed`;
        `cosine_batch` is per query of one batch), `bytes` and `build_seconds` of each index, `chosen` (the form that
        `CodeIndex` takes by itself), `recall_at_10` by distance, and `agree`: whether all found the same distances.
    """
    say(f"planting {size.n:,} codes of {size.n_bits:,} bits, {size.k} set")
    codes, x = planted(size)
    rows = np.random.default_rng(1).choice(size.n, n_queries, replace=False)
    queries = [codes.take(rows[at : at + 1]) for at in range(n_queries)]
    ms: dict[str, Any] = {}
    taken: dict[str, int] = {}
    built: dict[str, float] = {}
    agree = True
    expected: dict[str, np.ndarray] = {}
    for form in ("lists", "bitmap"):
        say(f"  {form}")
        CodeIndex(codes.take(rows), form).search(queries[0], TOP)  # compiles
        begun = time.perf_counter()
        index = CodeIndex(codes, form)
        built[form], taken[form] = time.perf_counter() - begun, index.nbytes
        for distance in ("hamming", "jaccard"):
            found = np.concatenate([index.search(query, TOP, distance, threads)[1] for query in queries[:5]])
            agree &= np.array_equal(found, expected.setdefault(distance, found))
            ms[f"{form}_{distance}"] = timed(_one_by_one(index, queries, distance, threads), n_queries)
        del index
    if (faiss := _faiss()) is not None:
        say("  faiss")
        packed = codes.bits()
        faiss.omp_set_num_threads(threads)
        flat = faiss.IndexBinaryFlat(packed.shape[1] * 8)
        begun = time.perf_counter()
        flat.add(packed)
        built["faiss"], taken["faiss"] = time.perf_counter() - begun, packed.nbytes
        asked = packed[rows]
        del packed
        found = np.concatenate([flat.search(asked[at : at + 1], TOP)[0] for at in range(5)]).astype(np.float64)
        agree &= np.array_equal(found, expected["hamming"])
        ms["faiss_hamming"] = timed(lambda at: flat.search(asked[at : at + 1], TOP), n_queries)
        del flat
    say("  cosine")
    batch = rows[: min(64, n_queries)]
    ms["cosine_batch"] = {
        key: value / len(batch) for key, value in timed(lambda _: cosine_top(x, x[batch], TOP), 3).items()
    }
    return {
        **size._asdict(),
        "mean_count": float(codes.counts.mean()),
        "storage": storage_bits(codes.counts, size.n_bits, size.d_in),
        "ms": ms,
        "bytes": taken,
        "build_seconds": built,
        "chosen": CodeIndex(codes.take(np.arange(min(size.n, 20_000)))).form,
        "recall_at_10": {d: float(recall_at(codes, x, batch, TOP, d).mean()) for d in ("hamming", "jaccard")},
        "agree": bool(agree),
    }


def _one_by_one(index: CodeIndex, queries: list[BinaryCodes], distance: str, threads: int) -> Callable[[int], Any]:
    return lambda at: index.search(queries[at], TOP, distance, threads)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def table(document: dict[str, Any]) -> str:
    """For people: a line a size."""
    lines = [
        f"{document['threads']} threads, {document['queries']} queries one at a time, top {TOP}; "
        "milliseconds of wall time (of CPU), medians",
        "",
        "| n | bits | set | lists, Hamming | lists, Jaccard | bitmap, Hamming | faiss, Hamming | cosine, of 64 at once "
        "| lists MB | bitmap MB | recall at 10 |",
        "| --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for size in document["sizes"]:

        def ms(name: str, of: dict[str, Any] = size["ms"]) -> str:
            return f"{of[name]['wall']:.1f} ({of[name]['cpu']:.1f})" if name in of else "not here"

        cells = [
            f"{size['n']:,}", f"{size['n_bits']:,}", f"{size['mean_count']:.1f}",
            *map(ms, ("lists_hamming", "lists_jaccard", "bitmap_hamming", "faiss_hamming", "cosine_batch")),
            f"{size['bytes']['lists'] / 1e6:,.0f}", f"{size['bytes']['bitmap'] / 1e6:,.0f}",
            f"{size['recall_at_10']['hamming']:.3f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    if not all(size["agree"] for size in document["sizes"]):
        lines.append("\nThe ways did NOT find the same distances.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 codes, in less than a minute")
    parser.add_argument("--json", action="store_true", help="one document on standard output instead of the table")
    parser.add_argument("--queries", type=int, default=64, metavar="N")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), metavar="N")
    arguments = parser.parse_args()
    sizes = [
        measure(size, arguments.queries, arguments.threads, lambda text: print(text, file=sys.stderr, flush=True))
        for size in (QUICK if arguments.quick else [*FULL, DENSE])
    ]
    document = {"threads": arguments.threads, "queries": arguments.queries, "sizes": sizes}
    print(json.dumps(document, indent=1) if arguments.json else table(document))


if __name__ == "__main__":
    main()
