"""What the best of many similarities is by chance, so that a matched cosine can be judged."""

from __future__ import annotations

import numpy as np

from sae.common.errors import UserError

DRAWS = 2_000
_BLOCK_ENTRIES = 16_000_000


def best_random_cosine(quantile: float | np.ndarray, n: int, d: int, unsigned: bool = False) -> np.ndarray:
    """Quantiles of the largest cosine of a direction with `n` independent uniform random ones in `d` dimensions.

    A cosine c of two such has (1 + c) / 2 ~ Beta((d-1)/2, (d-1)/2), and its square Beta(1/2, (d-1)/2); the largest of n
    is at most c with probability F(c)^n. It bounds what a one-to-one match reaches by chance, as the nearest one may be
    taken. `n` 0 gives 0.

    Raises:
        UserError: if d is below 2, where there are no directions between.
    """
    from scipy.stats import beta

    if d < 2:
        raise UserError(f"random directions need 2 dimensions or more, not {d}")
    quantile = np.asarray(quantile, float)
    if n < 1:
        return np.zeros(quantile.shape)
    with np.errstate(divide="ignore"):
        above = -np.expm1(np.log(quantile) / n)  # 1 - q^(1/n), not rounded away for large n
    if unsigned:
        return np.sqrt(beta.isf(above, 0.5, (d - 1) / 2))
    half = (d - 1) / 2
    return 2 * beta.isf(above, half, half) - 1


def best_alike_cosines(
    a: np.ndarray, b: np.ndarray, draws: int = DRAWS, seed: int = 0, unsigned: bool = False
) -> np.ndarray:
    """Largest cosines with len(b) random directions that spread as the rows of b do, of some that spread as those of a.

    Decoders are not uniform: rows that share a mean or lie in few dimensions are alike without having been matched.
    Normal vectors of the rows' own mean and covariance keep that and nothing else.

    Args:
        a: [n, d_in] and b: [m, d_in], rows of length 1.

    Returns:
        float64 [draws], ascending; empty where either has fewer than 2 rows.
    """
    if len(a) < 2 or len(b) < 2:
        return np.empty(0)
    generator = np.random.default_rng(seed)
    ones, others = _alike(a, draws, generator), _alike(b, len(b), generator)
    step = max(1, _BLOCK_ENTRIES // len(others))
    best = []
    for start in range(0, draws, step):
        found = ones[start : start + step] @ others.T
        best.append((np.abs(found) if unsigned else found).max(axis=1))
    return np.sort(np.concatenate(best).astype(np.float64))


def _alike(rows: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """float32 [count, d_in] of length 1: normal vectors of the rows' mean and covariance."""
    mean = rows.mean(axis=0)
    about = (rows - mean) / np.sqrt(len(rows))
    if len(rows) > rows.shape[1]:  # the same covariance of fewer numbers to draw; the ridge keeps a singular one whole
        covariance = (about.T @ about).astype(np.float64)
        covariance += np.eye(len(covariance)) * 1e-6 * max(np.trace(covariance) / len(covariance), 1e-30)
        about = np.linalg.cholesky(covariance).T
    drawn = generator.standard_normal((count, len(about)), dtype=np.float32) @ about.astype(np.float32) + mean
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
