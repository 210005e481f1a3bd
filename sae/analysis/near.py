"""How near a silent feature came to firing: its pre-activations against what a row's winners had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError

_BLOCK = 8192
_FEW_ROWS = 256  # whose active features' directions are held at once


def pre_activation(
    x: np.ndarray, W_enc: np.ndarray, b_enc: np.ndarray, feature: int, b_dec: np.ndarray | None = None
) -> np.ndarray:
    """float32 [n]: (x - b_dec) @ W_enc[:, feature] + b_enc[feature], what one feature reads before the selection.

    Args:
        x: [n, d_in], a memory map will do. W_enc: [d_in, d_sae]. b_enc: [d_sae].
        b_dec: [d_in]; None where the encoder does not subtract it.

    Raises:
        UserError: if the widths differ or there is no such feature.
    """
    if x.ndim != 2 or x.shape[1] != W_enc.shape[0]:
        raise UserError(f"rows {x.shape} don't fit an encoder {W_enc.shape}")
    if not 0 <= feature < W_enc.shape[1]:
        raise UserError(f"there is no feature {feature}: this SAE has features 0 to {W_enc.shape[1] - 1}")
    direction = W_enc[:, feature].astype(np.float32)
    offset = float(b_enc[feature]) - (0.0 if b_dec is None else float(b_dec.astype(np.float64) @ direction))
    found = np.empty(len(x), np.float32)
    for start in range(0, len(x), _BLOCK):
        found[start : start + _BLOCK] = np.asarray(x[start : start + _BLOCK], np.float32) @ direction + offset
    return found


@dataclass(frozen=True)
class Nearness:
    """Where a feature came nearest to being selected. `row` -1 without rows.

    `value` is its pre-activation there, `needed` what the weakest selected feature of that row had (0 where fewer
    features than usual fired and anything above 0 would have done), `short` [n] = needed - strength on every row:
    0 or below would have been selected. `positive` is the share of rows with a pre-activation above 0.
    """

    row: int
    value: float
    needed: float
    short: np.ndarray
    positive: float


def weakest_selected(codes: FeatureActivations, x: np.ndarray, W_enc: np.ndarray, b_enc: np.ndarray) -> np.ndarray:
    """float64 [n_rows]: the least of x @ W_enc + b_enc over the features active on each row; 0 where none is.

    For codes whose values are not pre-activations, as bits are. Shapes as in `pre_activation`.
    """
    found = np.zeros(codes.n_rows)
    columns = np.ascontiguousarray(W_enc.T, np.float32)
    for start in range(0, codes.n_rows, _FEW_ROWS):
        ends = codes.row_indptr[start : start + _FEW_ROWS + 1]
        features = codes.row_features[ends[0] : ends[-1]]
        counts = np.diff(ends)
        rows = np.repeat(np.asarray(x[start : start + len(counts)], np.float32), counts, axis=0)
        pre = np.einsum("ed,ed->e", rows, columns[features]) + b_enc[features]
        active = counts > 0
        if active.any():
            found[start : start + len(counts)][active] = np.minimum.reduceat(pre, (ends[:-1] - ends[0])[active])
    return found


def needed_by_row(codes: FeatureActivations, k: int | None) -> np.ndarray:
    """float64 [n_rows]: the size of the weakest of a row's K winners; 0 where fewer fired, or where there is no K."""
    needed = np.zeros(codes.n_rows)
    if k is not None and codes.nnz:
        full = np.diff(codes.row_indptr) >= k
        smallest = np.minimum.reduceat(np.abs(codes.row_values), np.minimum(codes.row_indptr[:-1], codes.nnz - 1))
        needed[full] = smallest[full]
    return needed


def nearness(
    codes: FeatureActivations,
    pre: np.ndarray,
    k: int | None,
    signed: bool = True,
    weakest: np.ndarray | None = None,
) -> Nearness:
    """Compare the pre-activations `pre` [n_rows] of one feature with the weakest winner of each row.

    Args:
        weakest: what each row needs [n_rows], where K does not say it: the feature's threshold, or what
            `weakest_selected` found for codes whose values are not pre-activations.
        k: how many features a row selects; None where any positive value fires (ReLU).
        signed: whether the largest signed values win (and only those above 0 fire), or the largest sizes.

    Raises:
        UserError: if `pre` does not fit the rows.
    """
    if np.shape(pre) != (codes.n_rows,):
        raise UserError(f"pre-activations {np.shape(pre)} don't fit {codes.n_rows} rows")
    needed = needed_by_row(codes, k) if weakest is None else weakest
    strength = np.asarray(pre, np.float64) if signed else np.abs(np.asarray(pre, np.float64))
    short = needed - strength
    if not len(short):
        return Nearness(-1, float("nan"), float("nan"), short, float("nan"))
    row = int(short.argmin())
    return Nearness(row, float(pre[row]), float(needed[row]), short, float((np.asarray(pre) > 0).mean()))
