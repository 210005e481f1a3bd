"""Products with codes that are mostly 0, differentiable: what autograd trains by on a CPU.

Only the encoder's forward product has to be dense. The decoder's, and all gradients, touch active features alone, as
long as few enough of them are active for that to be faster. Loops are those of `sae.training.kernels.features` in
spirit: rows or features are spread over threads, sums may be reassociated, nothing else departs from float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sae.common.threads import balanced, even, over_ranges
from sae.objectives.sparse_gram import by_feature
from sae.training.kernels.product import encoder_product

# Share of codes that are not 0 below which the sparse loops win (measured at d_in 256 to 2,048).
SPARSE_BELOW = 0.12
_MATH = {"reassoc", "contract", "nsz", "arcp"}


def encoded(x: Tensor, b_dec: Tensor | None, W_enc: Tensor, b_enc: Tensor) -> Tensor:
    """Pre-activations `(x - b_dec) @ W_enc + b_enc`, [B, d_sae]; x [B, d_in] gets no gradient.

    Args:
        b_dec: [d_in], or None where it is not subtracted.
    """
    if x.device.type != "cpu":
        return torch.addmm(b_enc, x if b_dec is None else x - b_dec, W_enc)
    found: Tensor = _Encode.apply(x, b_dec, W_enc, b_enc)
    return found


def decoded(code: Tensor, W_dec: Tensor, b_dec: Tensor | None = None, also: Tensor | None = None) -> Tensor:
    """Reconstruction `code @ W_dec + b_dec`, [B, d_in]; b_dec None is 0.

    Where codes are sparse, a code of 0 gets no gradient: for architectures that pass none on there (ReLU, TopK).

    Args:
        also: bool [B, d_sae], codes that get their gradient even where they are 0.
    """
    # what decides which codes take part: those that are not 0
    taken = code if also is None else torch.where(also, 1.0, code.detach())
    if code.device.type != "cpu" or not is_sparse(taken):
        return code @ W_dec if b_dec is None else torch.addmm(b_dec, code, W_dec)
    found: Tensor = _Decode.apply(code, W_dec, b_dec, taken.detach())
    return found


def is_sparse(code: Tensor) -> bool:
    """Whether few enough values are not 0."""
    return int(torch.count_nonzero(code)) < SPARSE_BELOW * code.numel()


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, b_dec: Tensor | None, W_enc: Tensor, b_enc: Tensor) -> Tensor:
        seen = x if b_dec is None else x - b_dec
        ctx.save_for_backward(seen, W_enc)
        ctx.subtracts = b_dec is not None
        return encoder_product(seen, W_enc.T, b_enc)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (by_pre,) = gradients
        seen, W_enc = ctx.saved_tensors
        by_b_enc = by_pre.sum(0)
        if is_sparse(by_pre):
            indptr, features, values = (part.numpy() for part in _compressed(by_pre))
            start, row, entry = by_feature(indptr, features, len(by_b_enc))
            by_W_enc = torch.empty(W_enc.T.shape)

            def work(part: int, first: int, last: int) -> None:
                _outer(first, last, start, row, entry, values, seen.numpy(), by_W_enc.numpy())

            over_ranges(work, balanced(start, 1.0))
            by_W_enc = by_W_enc.T
        else:
            by_W_enc = seen.T @ by_pre
        # The sum over rows of by_pre @ W_enc.T.
        by_b_dec = -(W_enc @ by_b_enc) if ctx.subtracts else None
        return None, by_b_dec, by_W_enc, by_b_enc


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, code: Tensor, W_dec: Tensor, b_dec: Tensor | None, taken: Tensor) -> Tensor:
        indptr, features, values = _compressed(code, taken)
        ctx.save_for_backward(indptr, features, values, W_dec)
        found = torch.empty(len(code), W_dec.shape[1])
        ctx.has_bias = b_dec is not None
        bias = torch.zeros(W_dec.shape[1]) if b_dec is None else b_dec
        weights = (W_dec.detach().contiguous().numpy(), bias.detach().contiguous().numpy())
        codes = (indptr.numpy(), features.numpy(), values.numpy())
        over_ranges(lambda part, a, b: _decode(a, b, *codes, *weights, found.numpy()), even(len(code)))
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        by_x = gradients[0].contiguous()
        indptr, features, values, W_dec = ctx.saved_tensors
        start, row, entry = by_feature(indptr.numpy(), features.numpy(), len(W_dec))
        by_code, by_W_dec = torch.zeros(len(by_x), len(W_dec)), torch.empty(W_dec.shape)
        given = (values.numpy(), W_dec.detach().contiguous().numpy(), by_x.numpy(), by_code.numpy(), by_W_dec.numpy())
        over_ranges(lambda part, a, b: _decode_back(a, b, start, row, entry, *given), balanced(start, 1.0))
        return by_code, by_W_dec, by_x.sum(0) if ctx.has_bias else None, None


def _compressed(code: Tensor, taken: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """CSR of [B, d_sae]: (indptr int64 [B + 1], features int32 [nnz], values [nnz]), of what is not 0 in `taken`, by
    default in `code`.
    """
    dense = code.detach().contiguous().numpy()
    deciding = dense if taken is None else taken.detach().contiguous().numpy()
    indptr = np.zeros(len(dense) + 1, np.int64)
    over_ranges(lambda part, a, b: _count(a, b, deciding, indptr), even(len(dense)))
    np.cumsum(indptr, out=indptr)
    features, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    over_ranges(lambda part, a, b: _fill(a, b, deciding, dense, indptr, features, values), even(len(dense)))
    return torch.from_numpy(indptr), torch.from_numpy(features), torch.from_numpy(values)


@njit(cache=True, nogil=True)
def _count(first, last, deciding, indptr):
    for i in range(first, last):
        n = 0
        for j in range(deciding.shape[1]):
            n += deciding[i, j] != 0
        indptr[i + 1] = n


@njit(cache=True, nogil=True)
def _fill(first, last, deciding, dense, indptr, features, values):
    for i in range(first, last):
        at = indptr[i]
        for j in range(dense.shape[1]):
            if deciding[i, j] != 0:
                features[at] = j
                values[at] = dense[i, j]
                at += 1


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _decode(first, last, indptr, features, values, W_dec, b_dec, found):
    D = W_dec.shape[1]
    for i in range(first, last):
        out = found[i]
        for t in range(D):
            out[t] = b_dec[t]
        for at in range(indptr[i], indptr[i + 1]):
            v, w = values[at], W_dec[features[at]]
            for t in range(D):
                out[t] += v * w[t]


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _decode_back(first, last, start, row, entry, values, W_dec, by_x, by_code, by_W_dec):
    D = W_dec.shape[1]
    for j in range(first, last):
        g, w = by_W_dec[j], W_dec[j]
        for t in range(D):
            g[t] = np.float32(0)
        for at in range(start[j], start[j + 1]):
            v, e = values[entry[at]], by_x[row[at]]
            dot = np.float32(0)
            for t in range(D):
                g[t] += v * e[t]
                dot += e[t] * w[t]
            by_code[row[at], j] = dot


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _outer(first, last, start, row, entry, values, seen, by_W_enc):
    D = seen.shape[1]
    for j in range(first, last):
        g = by_W_enc[j]
        for t in range(D):
            g[t] = np.float32(0)
        for at in range(start[j], start[j + 1]):
            v, x = values[entry[at]], seen[row[at]]
            for t in range(D):
                g[t] += v * x[t]
