"""Dense products: the encoder's, which is the only one of a step on a CPU, and those of a step on a GPU.

On AMD processors PyTorch's own float32 product reaches half of what oneDNN does with the same exact arithmetic. oneDNN
is reached through an operator that is not part of PyTorch's public interface, so it is tried once and left alone where
it is missing or wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import linear


def encoder_product(x: Tensor, W: Tensor, b: Tensor, precision: str = "float32") -> Tensor:
    """`x @ W.T + b`, [B, d_sae], for x [B, d_in], W [d_sae, d_in], b [d_sae], all float32 on one device.

    With precision `bfloat16` the operands and the product are rounded to bfloat16 (8 bits of mantissa; sums are in
    float32), which doubles the speed where the processor has instructions for it; the result is float32 either way.
    """
    if precision == "bfloat16":
        return linear(x.bfloat16(), W.bfloat16()).float().add_(b)
    if x.device.type == "cpu" and _onednn_works():
        return torch.ops.mkldnn._linear_pointwise(x, W, b, "none", [], "")
    return linear(x, W, b)


@cache
def _onednn_works() -> bool:
    """Whether oneDNN's float32 product is there, is right, and is not the slower one (Intel's MKL is as fast)."""
    if torch.backends.cpu.get_cpu_capability() not in ("AVX512", "AVX2") or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, W, b = (torch.randn(shape, generator=generator) for shape in ((64, 96), (48, 96), (48,)))
    try:
        found = torch.ops.mkldnn._linear_pointwise(x, W, b, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool(torch.allclose(found, linear(x, W, b), rtol=1e-5, atol=1e-4))


def operand(x: Tensor, precision: str) -> Tensor:
    """`x` as the batched products take it: rounded to bfloat16 where that is asked for."""
    return x.bfloat16() if precision == "bfloat16" else x


def batched_product(a: Tensor, b: Tensor, plus: Tensor | None = None, factor: float = 1.0) -> Tensor:
    """`a @ b + factor * plus`, float32 [G, n, m], for operands [G, n, d] and [G, d, m] of one type.

    Operands in bfloat16 are summed in float32; a GPU by CUDA also leaves the product in it, other devices round it.
    """
    if a.dtype == torch.float32:
        return a @ b if plus is None else torch.baddbmm(plus, a, b, beta=factor)
    found = torch.bmm(a, b, out_dtype=torch.float32) if a.is_cuda else (a @ b).float()
    return found if plus is None else found.add_(plus, alpha=factor)


@contextmanager
def rounding(precision: str, device: torch.device) -> Iterator[None]:
    """What GPUs by CUDA may round in products, while it lasts: of float32 operands nothing, or with `tf32` all but 10
    bits of mantissa; of sums nothing. The settings that it finds, PyTorch's global ones, come back at its end.
    """
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision, matmul.allow_bf16_reduced_precision_reduction
    matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.fp32_precision, matmul.allow_bf16_reduced_precision_reduction = before
