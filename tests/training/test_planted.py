"""Known dictionaries are found again: the recipe recovers planted atoms, whatever the seed."""

import numpy as np
import pytest
import torch

from sae.experiments.presets import PRESETS
from sae.training.config import from_settings
from sae.training.loop import train
from sae.training.rows import ResidentRows


def planted(seed, n_atoms=128, d_in=64, n=10_000, active=5.0):
    """Rows that are sums of about `active` of `n_atoms` unit directions with positive weights, plus a mean.

    Use follows a power law, and every fourth atom comes mostly with its neighbour, as features of language do.
    """
    generator = np.random.default_rng(seed)
    atoms = generator.standard_normal((n_atoms, d_in))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    use = np.arange(1, n_atoms + 1) ** -0.6
    use = np.minimum(use / use.sum() * active, 0.5)
    fires = generator.random((n, n_atoms)) < use
    fires[:, 1::4] |= fires[:, ::4] & (generator.random((n, n_atoms // 4)) < 0.5)
    weights = fires * (0.5 + generator.random((n, n_atoms)))
    x = weights @ atoms + 3 * generator.standard_normal(d_in)
    return torch.from_numpy(x.astype(np.float32)), atoms


@pytest.mark.parametrize("seed", range(5))
def test_nine_of_ten_atoms_are_found(seed):
    x, atoms = planted(seed)
    config = from_settings({**PRESETS["corrected"], "d_sae": 256, "k": 6, "seed": seed, "epochs": 40})
    found = train([config], ResidentRows(x))[0].model.W_dec.detach().double().numpy()
    assert ((atoms @ found.T).max(axis=1) >= 0.9).mean() >= 0.9


def test_the_published_recipe_does_not_find_them():
    """The difference is the recipe's, not the data's: the same rows, the same size, the same K."""
    x, atoms = planted(0)
    config = from_settings({**PRESETS["published"], "d_sae": 256, "k": 6})
    found = train([config], ResidentRows(x))[0].model.W_dec.detach().double().numpy()
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert (np.abs(atoms @ found.T).max(axis=1) >= 0.9).mean() < 0.5
