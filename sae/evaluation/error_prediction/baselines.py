"""Features to compare with: the activations themselves, their principal components, an SAE that was never trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

    from sae.models.base import SAE

BATCH = 4096


def principal_components(train: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """Scores [n, k] of rows x on the first k principal axes of the rows that the SAE was trained on.

    Args:
        train: [m, d_in]. x: [n, d_in]. At most d_in components are there.
    """
    mean = np.zeros(train.shape[1])
    for start in range(0, len(train), BATCH):
        mean += train[start : start + BATCH].astype(np.float64).sum(0)
    mean /= len(train)
    covariance = np.zeros((train.shape[1],) * 2)
    for start in range(0, len(train), BATCH):
        centred = train[start : start + BATCH].astype(np.float64) - mean
        covariance += centred.T @ centred
    _, vectors = np.linalg.eigh(covariance)
    return (x.astype(np.float64) - mean) @ vectors[:, ::-1][:, :k]


def random_sae_features(model: SAE, train: np.ndarray, x: np.ndarray, l0: float, seed: int = 0) -> csc_matrix:
    """Feature activations [n, d_sae] of rows x by an SAE of the same architecture and K with random directions.

    The decoder's rows are random unit vectors, the encoder is its transpose, `b_dec` the mean of the training rows. An
    architecture that does not hold K on every row gets the encoder's bias at which a training row has `l0` active
    features.

    Args:
        train: [m, d_in], what the SAE was trained on. x: [n, d_in]. l0: active features a row of the trained SAE.
    """
    import torch
    from scipy.sparse import csr_matrix

    from sae.models import build

    hyperparameters = model.hyperparameters()
    other = build(model.architecture, **hyperparameters).eval().requires_grad_(False)
    directions = torch.randn(model.d_sae, model.d_in, generator=torch.Generator().manual_seed(seed))
    other.W_dec.copy_(directions / directions.norm(dim=1, keepdim=True))
    other.W_enc.copy_(other.W_dec.T)
    other.b_dec.copy_(torch.from_numpy(np.asarray(train).mean(0, dtype=np.float64)))
    if "k" not in hyperparameters or hasattr(other, "threshold"):
        sample = torch.from_numpy(np.array(train[:: max(1, len(train) // 2000)], np.float32))
        share = 1 - l0 / model.d_sae
        pre = other.pre_activations(sample).numpy()
        other.b_enc.fill_(-float(np.quantile(pre, share)))
    parts = []
    for start in range(0, len(x), BATCH):
        codes = other.sparse_encode(torch.from_numpy(np.array(x[start : start + BATCH], np.float32)))
        found = (codes.values.numpy(), codes.features.numpy(), codes.indptr.numpy())
        parts.append(csr_matrix(found, shape=(len(codes.indptr) - 1, model.d_sae)))
    from scipy.sparse import vstack

    return vstack(parts).tocsc()
