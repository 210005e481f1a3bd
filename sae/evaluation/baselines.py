"""What an explained variance has to beat: the mean, PCA of as many components, a random dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae.common.precision import exact

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 8192


class PCA:
    """Principal components of the training rows; `ev` reads off any number of components on any rows.

    Args:
        x: training rows [n, d_in].
    """

    def __init__(self, x: Tensor) -> None:
        import torch

        self.mean = exact(x).mean(0)
        covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=self.mean.device)
        for block in x.split(BATCH):
            centred = exact(block) - self.mean
            covariance.addmm_(centred.T, centred)
        values, vectors = torch.linalg.eigh((covariance / max(len(x) - 1, 1)).cpu())
        self.variances = values.flip(0).clamp_min(0)
        self.components = vectors.flip(1).to(self.mean.device)  # [d_in, d_in], columns by falling variance

    def ev(self, x: Tensor, ks: list[int]) -> dict[int, dict[str, float]]:
        """EV_total and EV_flat of reconstructing rows x [n, d_in] from K components, for each K (at most d_in)."""
        import torch

        d_in = x.shape[1]
        kept = torch.zeros(d_in, dtype=torch.float64, device=self.mean.device)
        # An error's grand mean is needed for EV_flat: the sum of the error over elements, by number of components.
        kept_sum = torch.zeros(d_in, dtype=torch.float64, device=self.mean.device)
        totals = torch.zeros(4, dtype=torch.float64, device=self.mean.device)
        for block in x.split(BATCH):
            rows = exact(block)
            centred = rows - self.mean
            scores = centred @ self.components
            kept += scores.square().sum(0)
            kept_sum += scores.sum(0) * self.components.sum(0)
            totals += torch.stack([centred.square().sum(), centred.sum(), rows.square().sum(), rows.sum()])
        spread, centred_sum, square, total = (float(value) for value in totals)
        elements = len(x) * d_in
        result = {}
        for k in ks:
            at = min(k, d_in)
            error = spread - float(kept[:at].sum())
            error_sum = centred_sum - float(kept_sum[:at].sum())
            variance = square - total * total / elements
            result[k] = {
                "ev_total": 1 - error / spread if spread > 0 else float("nan"),
                "ev_flat": 1 - (error - error_sum * error_sum / elements) / variance if variance > 0 else float("nan"),
            }
        return result


def mean_predictor(x: Tensor, train_mean: Tensor) -> dict[str, float]:
    """EV of predicting the training mean: `ev_total` is 0 by definition, `ev_flat` is not."""
    rows = exact(x)
    error = rows - exact(train_mean)
    return {"ev_total": 0.0, "ev_flat": float(1 - error.var() / rows.var())}


def random_dictionary(
    x_train: Tensor, splits: Mapping[str, Tensor], d_sae: int, k: int, seed: int = 0
) -> dict[str, dict[str, float]]:
    """EV of K of `d_sae` random unit directions, tied encoder, b_dec at the mean, untrained; by split.

    The one thing that is fitted is a common scale of the activations, by least squares on the training rows: without it
    overlapping directions overshoot and the baseline would be too easy to beat.
    """
    import torch

    from sae.models.topk import TopK

    device = x_train.device
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(d_sae, x_train.shape[1], generator=generator)
    model = TopK(x_train.shape[1], d_sae, k).to(device)
    with torch.no_grad():
        model.W_dec.copy_(directions / directions.norm(dim=1, keepdim=True))
        model.W_enc.copy_(model.W_dec.T)
        model.b_dec.copy_(x_train.mean(0))
        product = square = 0.0
        for block in x_train.split(BATCH):
            guess = exact(model(block) - model.b_dec)
            product += float((guess * exact(block - model.b_dec)).sum())
            square += float(guess.square().sum())
        scale = product / square if square > 0 else 0.0
        model.W_enc.mul_(scale)
        mean = exact(x_train).mean(0)
        return {name: _ev(exact(model(rows)), exact(rows), mean) for name, rows in splits.items() if len(rows)}


def _ev(guess: Tensor, x: Tensor, train_mean: Tensor) -> dict[str, float]:
    error = x - guess
    return {
        "ev_total": float(1 - error.square().sum() / (x - train_mean).square().sum()),
        "ev_flat": float(1 - error.var() / x.var()),
    }


def baselines(
    x_train: Tensor, splits: Mapping[str, Tensor], pca: PCA, d_sae: int, k: int
) -> dict[str, dict[str, dict[str, float]]]:
    """`{"mean_predictor" | "pca" | "random_dictionary": {split: {"ev_total", "ev_flat"}}}` for one cell of a grid."""
    present = {name: rows for name, rows in splits.items() if len(rows)}
    mean = x_train.mean(0)
    return {
        "mean_predictor": {name: mean_predictor(rows, mean) for name, rows in present.items()},
        "pca": {name: pca.ev(rows, [k])[k] for name, rows in present.items()},
        "random_dictionary": random_dictionary(x_train, present, d_sae, k),
    }
