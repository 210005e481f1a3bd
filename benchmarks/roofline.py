"""What this machine can do on one thread, measured, and the time that the sparse route can't go below with it."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.task import BATCH_SIZE, Cell


class Roofline(NamedTuple):
    """What the parts of a step take at the shapes of one cell.

    Attributes:
        gflops: GFLOP/s of the encoder's product by way: `torch.mm`, `onednn` (where it is there) and `bfloat16`.
        gb_per_second: of reading and writing the parameters of both matrices and their two moments in place.
        encoder_ms: CPU milliseconds of the product at the best rate, by precision.
        adam_ms: of reading and writing parameters and moments once.
        sparse_ms: of four passes over the winners, each as long as an embedding bag: decoding, the gradient of the
            winners' values, and those of the two matrices.
        topk_ms: of `torch.topk(sorted=False)`.
    """

    gflops: dict[str, float]
    gb_per_second: float
    encoder_ms: dict[str, float]
    adam_ms: float
    sparse_ms: float
    topk_ms: float

    def floor(self, precision: str) -> dict[str, float]:
        """Milliseconds by part that a step needs at least, with "float32" or "bfloat16" operands of the product."""
        return {
            "encoder": self.encoder_ms[precision],
            "adam": self.adam_ms,
            "sparse": self.sparse_ms,
            "topk": self.topk_ms,
        }


def measure(cell: Cell, d_in: int, repeats: int = 15) -> Roofline:
    """The roofline at the shapes of `cell`, on random numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH_SIZE, d_in, generator=generator)
    weights = torch.randn(d_in, cell.d_sae, generator=generator) / d_in**0.5
    products = {way: milliseconds(product, repeats) for way, product in _products(x, weights).items()}
    exact = min(ms for way, ms in products.items() if way != "bfloat16")
    flops = 2.0 * BATCH_SIZE * d_in * cell.d_sae
    state = torch.rand(3, 2 * d_in * cell.d_sae, generator=generator)
    adam = milliseconds(lambda: state.mul_(1.0), repeats)
    pre = x @ weights
    values, indices = pre.topk(cell.k, sorted=False)
    decoder = weights.T.contiguous()
    bag = torch.nn.functional.embedding_bag
    return Roofline(
        gflops={way: flops / ms / 1e6 for way, ms in products.items()},
        gb_per_second=2 * state.numel() * state.element_size() / adam / 1e6,
        encoder_ms={"float32": exact, "bfloat16": min(products.values())},
        adam_ms=adam,
        sparse_ms=4 * milliseconds(lambda: bag(indices, decoder, mode="sum", per_sample_weights=values), repeats),
        topk_ms=milliseconds(lambda: pre.topk(cell.k, sorted=False), repeats),
    )


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time of `work` after two calls to warm up."""
    times = []
    for _ in range(repeats + 2):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return 1e3 * statistics.median(times[2:])


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    return {
        "cpu": _cpu(),
        "bfloat16_instructions": "avx512_bf16" in _cpuinfo() or "amx_bf16" in _cpuinfo(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def _products(x: torch.Tensor, weights: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Ways to the encoder's product of x [B, d_in] and weights [d_in, d_sae]."""
    x16, weights16 = x.bfloat16(), weights.bfloat16()
    ways: dict[str, Callable[[], object]] = {
        "torch.mm": lambda: x @ weights,
        "bfloat16": lambda: x16 @ weights16,
    }
    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if onednn is not None and torch.backends.mkldnn.is_available():
        transposed, bias = weights.T.contiguous(), torch.zeros(weights.shape[1])
        ways["onednn"] = lambda: onednn(x, transposed, bias, "none", [], "")
    return ways


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _cpu() -> str:
    """The processor's name, and the numbers that tell generations of one name apart."""
    said = dict(line.split(":", 1) for line in _cpuinfo().splitlines() if ":" in line)
    told = {name.strip(): value.strip() for name, value in said.items()}
    if "model name" not in told:
        return platform.processor() or platform.machine()
    numbers = [f"{name} {told[name]}" for name in ("cpu family", "model") if name in told]
    return f"{told['model name']} ({', '.join(numbers)})"
