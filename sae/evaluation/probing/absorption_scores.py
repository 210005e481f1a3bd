"""The two absorption scores of single units: what part of a projection comes from latents that are not the parent's.

Of one unit, `total` is its projection on the parent's direction u, each latent contributes act_j <d_j, u>, and `main`
is what the parent's own latents contribute together. Absorbers are other latents with cosine(d_j, u) >= 0.1 and a
positive contribution, the three largest of them. The fraction is 0 where main >= total or the absorbers bring less
than 0.4 of it, 1 where main <= 0, else a / (a + main) with a = min(absorbers, total - main). Absorption is full where
all own latents are off (below 1e-8), and the latent of the largest contribution has a cosine of at least 0.025 and
brings at least 0.4 of the total. Constants and cases are those of SAEBench 0.6.0 (evals/absorption).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from sae.evaluation.probing.absorption import Units

LEAST_SHARE = 0.4
LEAST_COSINE_FRACTION = 0.1
LEAST_COSINE_FULL = 0.025
MOST_ABSORBERS = 3
OFF = 1e-8


def scores(
    units: Units, rows: np.ndarray, direction: np.ndarray, main: Sequence[int], null: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Both scores of the units in `rows`.

    Args:
        direction: [d_in], of any length. main: the parent's own latents. null: others to put in their place.

    Returns:
        `fraction`, `full` [m], with contributions act <d, u> and totals of x - b_dec; `_saebench` behind: act times
        cosine, and totals of x; `_random` behind: means over `null`, NaN without any.
    """
    u = direction / max(float(np.linalg.norm(direction)), 1e-300)
    along = units.W_dec.astype(np.float64) @ u
    cosine = along / np.maximum(np.linalg.norm(units.W_dec, axis=1), 1e-12)
    codes = units.codes[rows]
    x = np.asarray(units.x[rows], np.float64) @ u
    total = x - units.b_dec.astype(np.float64) @ u
    own = np.asarray(main, np.int64)
    fraction, full = of_rows(codes, along, cosine, total, own)
    theirs, theirs_full = of_rows(codes, cosine, cosine, x, own)
    drawn = [of_rows(codes, along, cosine, total, one) for one in null]
    nothing = np.full(len(rows), np.nan)
    return {
        "fraction": fraction,
        "full": full,
        "fraction_saebench": theirs,
        "full_saebench": theirs_full,
        "fraction_random": np.mean([one[0] for one in drawn], axis=0) if drawn else nothing,
        "full_random": np.mean([one[1] for one in drawn], axis=0) if drawn else nothing,
    }


def of_rows(
    codes: csr_matrix, along: np.ndarray, cosine: np.ndarray, total: np.ndarray, main: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fraction [m] and full (0 or 1) [m].

    Args:
        codes: CSR [m, d_sae]. along: [d_sae], what one unit of each latent contributes. cosine: [d_sae].
        total: [m]. main: the parent's own latents.
    """
    m = codes.shape[0]
    row = np.repeat(np.arange(m), np.diff(codes.indptr))
    latent, value = codes.indices, codes.data.astype(np.float64)
    brought = value * along[latent]
    is_main = np.zeros(codes.shape[1], bool)
    is_main[main] = True
    own = is_main[latent]
    of_main = np.bincount(row[own], brought[own], minlength=m)
    absorbs = ~own & (cosine[latent] >= LEAST_COSINE_FRACTION) & (brought > 0)
    absorbed = _largest(row[absorbs], brought[absorbs], m)
    with np.errstate(invalid="ignore", divide="ignore"):
        nothing = (of_main >= total) | ~(absorbed / total >= LEAST_SHARE)
        a = np.minimum(absorbed, total - of_main)
        partly = np.clip(a / (a + of_main), 0, 1)
    fraction = np.where(nothing, 0.0, np.where(of_main <= 0, 1.0, partly))
    on = own & (np.abs(value) >= OFF)
    silent = np.bincount(row[on], minlength=m) == 0
    order = np.lexsort((brought, row))
    last = np.flatnonzero(np.append(np.diff(row[order]) > 0, True)) if len(order) else np.empty(0, np.int64)
    top, top_cosine = np.zeros(m), np.full(m, -np.inf)
    top[row[order[last]]] = brought[order[last]]
    top_cosine[row[order[last]]] = cosine[latent[order[last]]]
    full = silent & (total > 0) & (top > 0) & (top_cosine >= LEAST_COSINE_FULL) & (top >= LEAST_SHARE * total)
    return fraction, full.astype(np.float64)


def _largest(row: np.ndarray, value: np.ndarray, m: int) -> np.ndarray:
    """[m]: the sum of each row's three largest values; `row` ascends."""
    order = np.lexsort((-value, row))
    row, value = row[order], value[order]
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=m))])
    rank = np.arange(len(row)) - start[row]
    kept = rank < MOST_ABSORBERS
    return np.bincount(row[kept], value[kept], minlength=m)
