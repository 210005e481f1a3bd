"""How well a crosscoder reconstructs each of its layers.

`ev_layer_L` is `ev_total` (`sae.evaluation.reconstruction`) of the rows of layer L alone; `ev_layers` is their mean,
which counts each layer alike, where `ev_total` counts it by its spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sae.common.precision import exact
from sae.common.row_reader import RowReader
from sae.evaluation.reconstruction import BATCH, Codes

if TYPE_CHECKING:
    from sae.models.base import SAE


def layer_metrics(
    model: SAE,
    reader: RowReader,
    codes: Codes,
    train_mean: np.ndarray,
    layers: Sequence[int],
    splits: Mapping[str, np.ndarray],
) -> dict[str, dict[str, float]]:
    """The metrics of the module's head by split, and of `all` rows.

    Args:
        reader: rows [n, layers · d] with the layers side by side.
        codes: the model's, of these rows.
        train_mean: [layers · d].
        splits: row numbers; those without rows are left out.
    """
    import torch

    from sae.models.base import SparseRows

    n, device = len(reader.x), model.W_dec.device
    error, spread = np.empty((n, len(layers))), np.empty((n, len(layers)))
    mean = torch.as_tensor(train_mean, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, n, BATCH):
            stop = min(start + BATCH, n)
            entries = slice(codes.indptr[start], codes.indptr[stop])
            sparse = SparseRows(
                torch.from_numpy(codes.indptr[start : stop + 1] - codes.indptr[start]).to(device),
                torch.from_numpy(codes.features[entries].astype(np.int64)).to(device),
                torch.from_numpy(np.array(codes.values[entries], np.float32)).to(device),
            )
            guess = exact(model.sparse_decode(sparse)).cpu()
            rows = torch.from_numpy(reader.span(start, stop)).double()
            for found, off in ((error, rows - guess), (spread, rows - mean)):
                found[start:stop] = off.unflatten(1, (len(layers), -1)).square().sum(2).numpy()
    named = {name: rows for name, rows in splits.items() if len(rows)} | {"all": np.arange(n)}
    return {name: _metrics(error[rows].sum(0), spread[rows].sum(0), layers) for name, rows in named.items()}


def _metrics(error: np.ndarray, spread: np.ndarray, layers: Sequence[int]) -> dict[str, float]:
    ev = 1 - np.divide(error, spread, out=np.full(len(layers), np.nan), where=spread > 0)
    by_layer = {f"ev_layer_{layer}": float(value) for layer, value in zip(layers, ev, strict=True)}
    return {"ev_layers": float(ev.mean()), **by_layer}
