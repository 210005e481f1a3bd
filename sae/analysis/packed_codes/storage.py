"""How many bits a vector takes: dense, as a bitmap, as an index list, and at least."""

from __future__ import annotations

import numpy as np


def storage_bits(counts: np.ndarray, n_bits: int, d_in: int) -> dict[str, float]:
    """Bits per vector, averaged over the codes.

    Args:
        counts: [n], set bits of each code: n_i.
        n_bits: N.
        d_in: dimensions of the dense vectors.

    Returns:
        `dense` 32 d_in (float32); `bitmap` N; `index_list` mean n_i ceil(log2 N), the lengths of the lists not counted;
        `entropy` mean log2 C(N, n_i), below which no code of fixed counts can come; `entropy_with_count` adds the
        log2(N + 1) that say which count it is.
    """
    from scipy.special import gammaln

    counts = np.asarray(counts, np.float64)
    choices = gammaln(n_bits + 1) - gammaln(counts + 1) - gammaln(n_bits - counts + 1)
    entropy = float(choices.mean() / np.log(2))
    return {
        "dense": 32.0 * d_in,
        "bitmap": float(n_bits),
        "index_list": float(counts.mean()) * (n_bits - 1).bit_length(),
        "entropy": entropy,
        "entropy_with_count": entropy + float(np.log2(n_bits + 1)),
    }
