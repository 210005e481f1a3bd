"""How much features repeat each other: mean |correlation| of their activations, and their nearest decoder direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sae.evaluation.reconstruction import Codes

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ROWS = 20_000  # that correlations are taken over, evenly spread, where there are more
_BLOCK_ENTRIES = 16_000_000  # products held at once: 128 MB
_DENSE = 0.07  # share of active features from which on a dense product is the faster one


def redundancy(codes: Codes, rows: np.ndarray, W_dec: torch.Tensor) -> dict[str, float]:
    """Of the features that are active on `rows`.

    Args:
        codes: feature activations as CSR.
        rows: numbers of the rows that count.
        W_dec: [d_sae, d_in].

    Returns:
        `mean_abs_correlation`: mean over pairs of |Pearson's r| over the rows, zeros included (over at most 20,000 of
        them, evenly spread); NaN where no two features vary. `max_decoder_cosine_mean`: mean over features of the
        cosine of the decoder row that is nearest in direction; NaN below two features.
    """
    d_sae = len(W_dec)
    if len(rows) > ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, ROWS).astype(np.int64)]
    x = _csr(codes, rows, d_sae)
    living = np.flatnonzero(np.diff(x.tocsc().indptr))
    return {
        "mean_abs_correlation": _mean_abs_correlation(x[:, living]),
        "max_decoder_cosine_mean": _mean_max_cosine(W_dec[torch.from_numpy(living)]),
    }


def _csr(codes: Codes, rows: np.ndarray, d_sae: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    whole = csr_matrix((codes.values, codes.features, codes.indptr), shape=(len(codes.indptr) - 1, d_sae))
    return whole[rows].astype(np.float64)


def _mean_abs_correlation(x: csr_matrix) -> float:
    n, d = x.shape
    mean = np.asarray(x.mean(axis=0)).ravel()
    square = np.asarray(x.multiply(x).mean(axis=0)).ravel()
    spread = square - mean**2
    varies = spread > 1e-12 * square
    x, mean, deviation = x[:, varies], mean[varies], np.sqrt(spread[varies])
    d = len(mean)
    if d < 2:
        return float("nan")
    total = 0.0
    step = max(1, _BLOCK_ENTRIES // d)
    products_of = _dense_products if x.nnz > _DENSE * n * d else _sparse_products
    for start in range(0, d, step):
        part = slice(start, start + step)
        products = products_of(x, part) / n
        r = (products - np.outer(mean[part], mean)) / np.outer(deviation[part], deviation)
        total += float(np.abs(r).sum())
    return (total - d) / (d * (d - 1))  # less the diagonal


def _sparse_products(x: csr_matrix, part: slice) -> np.ndarray:
    """x[:, part]ᵀ x as float64 [features of the part, d], in time of the square of the active features a row."""
    return (x[:, part].T.tocsr() @ x).toarray()


def _dense_products(x: csr_matrix, part: slice) -> np.ndarray:
    """The same in time of d a row and feature: a ReLU SAE that no penalty holds has half of its features on."""
    total: np.ndarray = np.zeros((len(range(x.shape[1])[part]), x.shape[1]))
    rows = max(1, _BLOCK_ENTRIES // x.shape[1])
    for first in range(0, x.shape[0], rows):
        block = x[first : first + rows].toarray()
        total += block[:, part].T @ block
    return total


def _mean_max_cosine(W_dec: torch.Tensor) -> float:
    d = len(W_dec)
    if d < 2:
        return float("nan")
    unit = torch.nn.functional.normalize(W_dec.detach().float(), dim=1)
    found = []
    step = max(1, _BLOCK_ENTRIES // d)
    for start in range(0, d, step):
        cosines = unit[start : start + step] @ unit.T
        cosines.diagonal(start).fill_(-1.0)
        found.append(cosines.max(dim=1).values)
    return float(torch.cat(found).mean())
