"""What the numbers of a slice look like before an SAE is trained on them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .store import Activations, Slice

if TYPE_CHECKING:
    import pandas as pd

#: Rows at once, so that float64 copies stay small.
_STEP = 2048
#: An eigendecomposition takes the cube of this; beyond it the spectrum is taken from fewer rows.
_MAX_SPECTRUM = 4096
#: A slice whose centred norm is below this share of its mean's norm is called near-constant: less than 0.25 % of what
#: its rows hold varies. Published: layer 0 at BOT, whose flattened explained variance is 0.9994 with 99 % dead.
NEAR_CONSTANT = 0.05


def slice_statistics(piece: Slice, max_rows: int = 20_000) -> dict[str, Any]:
    """Moments, spectrum and oddities of a slice, from at most `max_rows` of its rows (drawn with a fixed seed).

    All sums in float64, in two passes. With mean m and covariance C (division by n) of the rows x:

    Returns:
        `n_rows` of the slice and `n_sampled`; `d_in`;
        `mean_row_norm`: mean of ||x||; `mean_norm`: ||m||; `centred_norm`: sqrt(mean ||x - m||^2);
        `mean_to_centred`: ||m|| / centred_norm (None if nothing varies);
        `total_variance`: trace C = centred_norm^2;
        `participation_ratio`: (trace C)^2 / trace C^2, from 1 (one direction) to d_in (all alike);
        `outlier_ratio`: gamma = largest / median standard deviation of the dimensions (None if the median is 0);
        `outlier_dimension`: the dimension with the largest one;
        `constant_dimensions`: how many have a standard deviation of at most 1e-6 of their mean's size;
        `duplicate_rows`: share of rows that equal an earlier one bit for bit;
        `near_constant`: whether centred_norm < 0.05 ||m||, or nothing varies;
        `scree`: share of the variance of the first 100 principal components, descending;
        `spectrum_rows`: from how many rows `scree` and `participation_ratio` were taken.
    """
    n = piece.stop - piece.start
    chosen = np.arange(n)
    if n > max_rows:
        chosen = np.sort(np.random.default_rng(0).choice(n, max_rows, replace=False))
    x = piece.x
    blocks = [chosen[start : start + _STEP] for start in range(0, len(chosen), _STEP)]
    d_in = x.shape[1]

    total, norms = np.zeros(d_in), 0.0
    seen: set[bytes] = set()
    for block in blocks:
        values = np.asarray(x[block])
        seen.update(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in values)
        values = values.astype(np.float64)
        total += values.sum(axis=0)
        norms += float(np.sqrt((values**2).sum(axis=1)).sum())
    mean = total / len(chosen)

    variance = np.zeros(d_in)
    for block in blocks:
        variance += ((np.asarray(x[block], np.float64) - mean) ** 2).sum(axis=0)
    variance /= len(chosen)
    deviation = np.sqrt(variance)
    total_variance = float(variance.sum())
    centred, mean_norm = float(np.sqrt(total_variance)), float(np.linalg.norm(mean))
    # What float64 sums of identical numbers leave over is no variance.
    varies = centred > 1e-9 * mean_norm
    median = float(np.median(deviation))

    eigenvalues, used = _spectrum(x, chosen, mean, d_in) if varies else (np.zeros(1), len(chosen))
    spread = float(eigenvalues.sum())
    return {
        "n_rows": n,
        "n_sampled": len(chosen),
        "d_in": d_in,
        "mean_row_norm": norms / len(chosen),
        "mean_norm": mean_norm,
        "centred_norm": centred,
        "mean_to_centred": mean_norm / centred if varies else None,
        "total_variance": total_variance,
        "participation_ratio": spread**2 / float((eigenvalues**2).sum()) if varies else None,
        "outlier_ratio": float(deviation.max()) / median if median > 0 else None,
        "outlier_dimension": int(deviation.argmax()),
        "constant_dimensions": int((deviation <= 1e-6 * np.abs(mean)).sum()),
        "duplicate_rows": 1 - len(seen) / len(chosen),
        "near_constant": not varies or centred < NEAR_CONSTANT * mean_norm,
        "scree": (eigenvalues[:100] / spread).tolist() if varies else [],
        "spectrum_rows": used,
    }


def slices_table(activations: Activations, max_rows: int = 1000) -> pd.DataFrame:
    """How much of each slice varies at all, from at most `max_rows` of its rows, evenly spaced.

    Returns:
        A line a slice, in their order: `layer`, `position`, `rows` (used), `mean_norm` ||m||, `centred_norm`
        sqrt(mean ||x - m||^2), `varying` (tr C / mean ||x||^2: the share of the rows' mean square that the mean does
        not hold; NaN for rows of zeros), and `near_constant` as in `slice_statistics`.
    """
    import pandas as pd

    lines = []
    for piece in activations.slices:
        x = np.asarray(piece.x[:: max(1, -(-len(piece.x) // max_rows))], np.float64)
        mean = x.mean(axis=0)
        norm, spread = float(mean @ mean), float(((x - mean) ** 2).sum(axis=1).mean())
        lines.append(
            {
                "layer": piece.layer,
                "position": piece.position,
                "rows": len(x),
                "mean_norm": norm**0.5,
                "centred_norm": spread**0.5,
                "varying": spread / (spread + norm) if spread + norm > 0 else np.nan,
                # What float64 sums of identical numbers leave over is no variance.
                "near_constant": spread < NEAR_CONSTANT**2 * norm or spread <= 1e-18 * norm,
            }
        )
    return pd.DataFrame(lines)


def _spectrum(x: np.ndarray, chosen: np.ndarray, mean: np.ndarray, d_in: int) -> tuple[np.ndarray, int]:
    """Eigenvalues of the covariance, descending, and from how many rows."""
    if min(len(chosen), d_in) > _MAX_SPECTRUM:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, _MAX_SPECTRUM, replace=False))
    if len(chosen) <= d_in:
        # The matrix of inner products of fewer rows than dimensions has the same eigenvalues.
        values = np.asarray(x[chosen], np.float64) - mean
        matrix = values @ values.T
    else:
        matrix = np.zeros((d_in, d_in))
        for start in range(0, len(chosen), _STEP):
            values = np.asarray(x[chosen[start : start + _STEP]], np.float64) - mean
            matrix += values.T @ values
    return np.maximum(np.linalg.eigvalsh(matrix / len(chosen))[::-1], 0.0), len(chosen)
