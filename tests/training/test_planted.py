"""Known dictionaries are found again: the recipe recovers planted atoms, whatever the seed."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

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


@pytest.mark.parametrize("seed", range(2))
def test_nine_of_ten_atoms_are_found(device, seed):
    x, atoms = planted(seed)
    config = from_settings({**PRESETS["corrected"], "d_sae": 256, "k": 6, "seed": seed, "epochs": 40})
    found = train([config], ResidentRows(x.to(device)))[0].model.W_dec.detach().double().cpu().numpy()
    assert ((atoms @ found.T).max(axis=1) >= 0.9).mean() >= 0.9


def test_the_published_recipe_does_not_find_them(device):
    """The difference is the recipe's, not the data's: the same rows, the same size, the same K."""
    x, atoms = planted(0)
    config = from_settings({**PRESETS["published"], "d_sae": 256, "k": 6})
    found = train([config], ResidentRows(x.to(device)))[0].model.W_dec.detach().double().cpu().numpy()
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert (np.abs(atoms @ found.T).max(axis=1) >= 0.9).mean() < 0.5


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"architecture": "batchtopk", "lr": 3e-3}, 0.9),
        # the first prefixes, of few features, hold mixtures of the frequent atoms: that is what nesting asks for
        ({"architecture": "matryoshka-batchtopk", "lr": 3e-3}, 0.6),
        ({"architecture": "matryoshka", "lr": 3e-3}, 0.8),
        ({"architecture": "topk", "lr": 3e-3}, 0.9),
        ({"architecture": "topk", "selection": "magnitude", "lr": 3e-3}, 0.9),
        ({"architecture": "topk", "multi_topk": True, "lr": 3e-3}, 0.9),
        ({"architecture": "gated", "calibrated": True, "lr": 1e-2}, 0.9),
        ({"architecture": "jumprelu", "calibrated": True, "lr": 1e-2}, 0.9),
        ({"architecture": "panneal", "calibrated": True, "lr": 1e-2}, 0.8),
        ({"architecture": "standard", "calibrated": True, "resampling": True, "lr": 1e-2}, 0.75),
        ({"architecture": "standard", "version": "2024", "calibrated": True, "lr": 1e-2}, 0.75),
    ],
    ids=lambda value: value["architecture"] if isinstance(value, dict) else "",
)
def test_every_architecture_finds_most_atoms_at_three_active_features_a_row(device, settings, share):
    x, atoms = planted(0, n_atoms=64, d_in=32, n=5_000, active=2.5)
    config = from_settings({"d_sae": 128, "k": 3, "epochs": 40, **settings})
    model = train([config], ResidentRows(x.to(device)))[0].model
    with torch.no_grad():
        assert float((model.encode(x.to(device)) != 0).sum(1).float().mean()) == pytest.approx(3, rel=0.12)
    found = model.W_dec.detach().double().cpu().numpy()
    cosines = atoms @ (found / np.linalg.norm(found, axis=1, keepdims=True)).T
    if settings.get("selection") == "magnitude":  # an atom or its opposite: the activation has the sign
        cosines = np.abs(cosines)
    matched = linear_sum_assignment(-cosines)  # one feature an atom
    assert (cosines[matched] >= 0.9).mean() >= share
