"""The encoder product: the one dense product of a step.

On AMD processors PyTorch's own float32 product reaches half of what oneDNN does with the same exact arithmetic. oneDNN
is reached through an operator that is not part of PyTorch's public interface, so it is tried once and left alone where
it is missing or wrong.
"""

from __future__ import annotations

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


def batched_product(a: Tensor, b: Tensor, precision: str) -> Tensor:
    """`a @ b` [G, n, m] for a [G, n, d], b [G, d, m], float32 in and out.

    `bfloat16` rounds the operands and the product; `tf32` lets a GPU that has it round the operands to 10 bits.
    """
    if precision == "bfloat16":
        return (a.bfloat16() @ b.bfloat16()).float()
    if precision == "tf32" and a.is_cuda:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return a @ b
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
    return a @ b
