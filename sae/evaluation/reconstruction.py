"""Reconstruction, sparsity and death of an SAE, by split, from one pass over the rows.

Formulas (x [n, d_in], x̂ its reconstruction, μ the per-dimension mean of the training rows, f the feature activations):

- `ev_total` = 1 - Σ‖x-x̂‖² / Σ‖x-μ‖², the out-of-sample R²: 0 for predicting the training mean.
- `ev_flat` = 1 - Var(x-x̂) / Var(x) over all n·d_in elements with one grand mean, as the published grid took it: it
  counts differences between dimension means as variance, so a mean predictor scores above 0.
- `mse` = mean of (x-x̂)² over all elements.
- `l0` = mean number of f != 0 a row, `l0_sd` its standard deviation over rows; `dead` = share of features with f = 0 on
  every row of the split; `dense` = share active on more than half of the rows; `ultra_low` = share active on some, but
  fewer than one in 10,000.
- `mean_activation`, `max_activation` of |f| over the active entries.
- `perplexity` = exp(H(use)), use_j = firings of j / all firings: how many features the codes use effectively.
- `cosine_similarity` = mean cos(x, x̂); `l2_ratio` = mean ‖x̂‖/‖x‖.
- `reconstruction_bias` = Σ‖x̂-μ‖² / Σ(x̂-μ)·(x-μ), the γ by which μ + (x̂-μ)/γ has the least squared error (Rajamanoharan
  et al. 2024, about the mean of the training rows instead of the origin): below 1, reconstructions are shrunk. Unlike
  `l2_ratio` it is 1 for an SAE that explains little but scales it well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sae.common.precision import exact
from sae.common.row_reader import RowReader, reader_of
from sae.evaluation.bootstrap import drawn_weights, interval
from sae.evaluation.entries import Entries

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from sae.models.base import SAE

BATCH = 4096
ENTRIES = 2**24  # pre-activations held at once: 64 MB
AT_ONCE = 256  # rows that are compared at once: in float64 they stay in cache
METRIC_ROWS = 2**16
INTERVAL_PARTS = 20_000
ULTRA_LOW = 1e-4
DENSE = 0.5


class Codes(NamedTuple):
    """Sparse feature activations of n rows as CSR in numpy: int64 [n + 1], int32 [nnz], float32 [nnz]."""

    indptr: np.ndarray
    features: np.ndarray
    values: np.ndarray


class RowErrors(NamedTuple):
    """What the metrics need of each row, float64 [n] each."""

    squared_error: np.ndarray  # ‖x - x̂‖²
    squared_spread: np.ndarray  # ‖x - μ‖²
    squared_norm: np.ndarray  # ‖x‖²
    sum_error: np.ndarray  # Σ over dimensions of x - x̂
    sum_x: np.ndarray
    cosine: np.ndarray
    l2_ratio: np.ndarray
    spread_error: np.ndarray  # (x - μ)·(x - x̂)


def encode_rows(
    model: SAE,
    x: np.ndarray | Tensor | RowReader,
    train_mean: np.ndarray,
    device: str = "cpu",
    watch: Callable[[int, int], None] = lambda done, total: None,
    folder: Path | None = None,
    target: RowReader | None = None,
) -> tuple[Codes, RowErrors]:
    """Codes and row errors of all rows x [n, d_in], in batches; x may be a memory map of any float type.

    Args:
        train_mean: of what is reconstructed.
        target: what is reconstructed of each row, where that is not x: errors are those of it.
        folder: takes codes that are larger than memory should hold (`sae.evaluation.entries`), as long as used.
    """
    import torch

    model = model.to(device)
    mean = torch.as_tensor(train_mean, dtype=torch.float64)
    given = x.numpy(force=True) if isinstance(x, torch.Tensor) else x
    reader = given if isinstance(given, RowReader) else reader_of(given)
    n = len(reader.x)
    errors = RowErrors(*(np.empty(n) for _ in RowErrors._fields))
    indptr = np.zeros(n + 1, np.int64)
    features, values = Entries(np.int32, folder), Entries(np.float32, folder)
    batch = max(1, min(BATCH, ENTRIES // model.d_sae))
    with torch.no_grad():
        for start in range(0, n, batch):
            stop = min(start + batch, n)
            rows = torch.from_numpy(reader.span(start, stop)).to(device).float()
            sparse = model.sparse_encode(rows)
            guess = model.sparse_forward(rows, sparse)
            wanted = rows if target is None else torch.from_numpy(target.span(start, stop)).to(device).float()
            for first in range(0, stop - start, AT_ONCE):
                part = slice(first, first + AT_ONCE)
                _compare(wanted[part], guess[part], mean, errors, start + first)
            indptr[start + 1 : stop + 1] = sparse.indptr[1:].cpu().numpy() + indptr[start]
            features.append(sparse.features.cpu().numpy())
            values.append(sparse.values.cpu().numpy())
            watch(stop, n)
    return Codes(indptr, features.all(), values.all()), errors


def _compare(rows: Tensor, guess: Tensor, mean: Tensor, errors: RowErrors, start: int) -> None:
    """Fill in `errors` from row number `start` on."""
    wanted, guessed = exact(rows), exact(guess)
    error, centred = wanted - guessed, wanted - mean.to(wanted.device)
    square, guess_square, product = _dots(wanted, wanted), _dots(guessed, guessed), _dots(wanted, guessed)
    norm, guess_norm = square.sqrt(), guess_square.sqrt()
    found = {
        "squared_error": _dots(error, error),
        "squared_spread": _dots(centred, centred),
        "squared_norm": square,
        "sum_error": error.sum(1),
        "sum_x": wanted.sum(1),
        "cosine": product / (norm * guess_norm).clamp_min(1e-30),
        "l2_ratio": guess_norm / norm.clamp_min(1e-30),
        "spread_error": _dots(centred, error),
    }
    for name, part in found.items():
        getattr(errors, name)[start : start + len(rows)] = part.cpu().numpy()


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows, [n]; nothing of their size is written."""
    return (a[:, None] @ b[:, :, None])[:, 0, 0]


def metrics(codes: Codes, errors: RowErrors, rows: np.ndarray, d_in: int, d_sae: int) -> dict[str, float]:
    """All metrics of the module's head over `rows` (row numbers); {} for no rows."""
    if len(rows) == 0:
        return {}
    n = len(rows)
    counts = np.diff(codes.indptr)
    chosen = np.zeros(len(counts), bool)
    chosen[rows] = True
    uses = np.zeros(d_sae, np.int64)
    total, largest = 0.0, 0.0
    for start in range(0, len(counts), METRIC_ROWS):
        here = slice(start, start + METRIC_ROWS)
        if not chosen[here].any():
            continue
        span = slice(codes.indptr[start], codes.indptr[min(start + METRIC_ROWS, len(counts))])
        entries = np.repeat(chosen[here], counts[here])
        values = np.abs(codes.values[span][entries].astype(np.float64))
        uses += np.bincount(codes.features[span][entries], minlength=d_sae)
        total += float(values.sum())
        largest = max(largest, float(values.max(initial=0.0)))
    firings = int(uses.sum())
    density = uses / n
    share = uses[uses > 0] / max(firings, 1)
    squared_error = errors.squared_error[rows].sum()
    spread = errors.squared_spread[rows].sum()
    shared = spread - errors.spread_error[rows].sum()  # Σ(x̂-μ)·(x-μ)
    elements = n * d_in
    error_variance = _variance(squared_error, errors.sum_error[rows].sum(), elements)
    variance = _variance(errors.squared_norm[rows].sum(), errors.sum_x[rows].sum(), elements)
    return {
        "ev_total": float(1 - squared_error / spread) if spread > 0 else float("nan"),
        "ev_flat": float(1 - error_variance / variance) if variance > 0 else float("nan"),
        "mse": float(squared_error / elements),
        "l0": float(counts[rows].mean()),
        "l0_sd": float(counts[rows].std()),
        "dead": float((uses == 0).mean()),
        "dense": float((density > DENSE).mean()),
        "ultra_low": float(((density > 0) & (density < ULTRA_LOW)).mean()),
        "mean_activation": total / firings if firings else 0.0,
        "max_activation": largest,
        "perplexity": float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0,
        "cosine_similarity": float(errors.cosine[rows].mean()),
        "l2_ratio": float(errors.l2_ratio[rows].mean()),
        "reconstruction_bias": float((2 * shared - spread + squared_error) / shared) if shared else float("nan"),
    }


def split_metrics(
    codes: Codes, errors: RowErrors, splits: Mapping[str, np.ndarray], d_in: int, d_sae: int
) -> dict[str, dict[str, float]]:
    """`metrics` of each named split that has rows, and of `all` rows."""
    named = {name: rows for name, rows in splits.items() if len(rows)} | {"all": np.arange(len(errors.squared_error))}
    return {name: metrics(codes, errors, rows, d_in, d_sae) for name, rows in named.items()}


def ev_interval(
    squared_error: np.ndarray,
    squared_spread: np.ndarray,
    example: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of EV_total, resampling examples (all rows of one together), not rows.

    More than 20,000 examples are resampled in 20,000 parts of as many examples each.

    Args:
        squared_error, squared_spread: [n], of the split's rows.
        example: [n], which example each row belongs to.
    """
    _, group = np.unique(example, return_inverse=True)
    group = group * min(INTERVAL_PARTS, group.max() + 1) // (group.max() + 1)
    error = np.bincount(group, squared_error)
    spread = np.bincount(group, squared_spread)
    n = len(error)
    if n < 2:
        return float("nan"), float("nan")
    drawn = drawn_weights(n, resamples, seed)
    return interval(np.concatenate([1 - (weights @ error) / (weights @ spread) for weights in drawn]), level)


def _variance(sum_of_squares: float, total: float, n: int) -> float:
    return float((sum_of_squares - total * total / n) / (n - 1)) if n > 1 else 0.0
