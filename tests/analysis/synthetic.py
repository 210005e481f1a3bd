"""Small codes with planted relations, dense beside sparse."""

import numpy as np

from sae.analysis.codes import FeatureActivations


def planted(n_rows=300, d_sae=30, seed=0, signed=True):
    """[n_rows, d_sae] with a co-firing pair (0, 1), an opposed one (2, 3), one that excludes each other (4,
    5), a dead feature 6, one on every row with one value 7, one on every row 8, one on a single row 9."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 1.0, (n_rows, d_sae)) * (rng.random((n_rows, d_sae)) < 0.15)
    if signed:
        x *= rng.choice([1, 1, 1, -1], size=x.shape)
    on = rng.random(n_rows) < 0.2
    x[:, 0], x[:, 1] = on * rng.gamma(3, 1, n_rows), on * rng.gamma(3, 1, n_rows)
    value = on * rng.gamma(3, 1, n_rows)
    x[:, 2], x[:, 3] = value, -value
    half = rng.random(n_rows) < 0.5
    x[:, 4], x[:, 5] = half * 2.0, ~half * 3.0
    x[:, 6] = 0
    x[:, 7] = 1.5
    x[:, 8] = rng.gamma(2, 1, n_rows) + 0.1
    x[:, 9] = 0
    x[17, 9] = 4.0
    x = x.astype(np.float32)
    return x, FeatureActivations.from_dense(x)
