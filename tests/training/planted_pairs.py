"""A dictionary that reads one space and writes into others."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment


def planted(spaces, n_atoms=40, d=24, n=2500, active=3.0, seed=0):
    """For each of `spaces`: rows [n, d] that are sums of its own unit directions [n_atoms, d], with a mean of its own
    and other units; the weights are those of the first space for all. Use follows a power law.
    """
    generator = np.random.default_rng(seed)
    use = np.arange(1, n_atoms + 1) ** -0.6
    weights = generator.random((n, n_atoms)) < np.minimum(use / use.sum() * active, 0.5)
    weights = weights * (0.5 + generator.random((n, n_atoms)))
    found = []
    for number in range(spaces):
        atoms = generator.standard_normal((n_atoms, d))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        x = (1 + 4 * number) * (weights @ atoms) + 3 * generator.standard_normal(d)
        found.append((torch.from_numpy(x.astype(np.float32)), atoms))
    return found


def share_found(directions, atoms):
    """Of the atoms, with a direction of their own at a cosine of .9 or more."""
    directions = directions.detach().double().cpu().numpy()
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True).clip(1e-12)
    cosines = atoms @ directions.T
    return (cosines[linear_sum_assignment(-cosines)] >= 0.9).mean()
