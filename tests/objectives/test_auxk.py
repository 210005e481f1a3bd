"""AuxK against its formula, a loop over rows, and its gradients against autograd through that loop."""

import pytest
import torch

from sae.objectives.auxk import auxk


def by_formula(pre, residual, W_dec, dead, k):
    """The paper's normalised error."""
    total = torch.zeros((), dtype=pre.dtype)
    for row in range(len(pre)):
        strongest = sorted((j for j in range(len(dead)) if dead[j]), key=lambda j: -float(pre[row, j].detach()))[:k]
        guess = sum((pre[row, j].clamp_min(0) * W_dec[j] for j in strongest), torch.zeros_like(residual[row]))
        total = total + (residual[row] - guess).square().sum()
    spread = (residual - residual.mean(0)).square().sum()
    return min(int(dead.sum()) / k, 1.0) * total / spread


def case(seed):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return random(9, 15), random(9, 6), random(15, 6)


@pytest.mark.parametrize("n_dead", [1, 3, 8, 15])
def test_value_and_gradients(n_dead):
    pre, residual, W_dec = case(0)
    dead = torch.arange(15) < n_dead
    found = auxk(pre, residual, W_dec, dead, k=4)
    pre, W_dec = pre.requires_grad_(), W_dec.requires_grad_()
    expected = by_formula(pre, residual, W_dec, dead, 4)
    torch.testing.assert_close(found.loss, expected.detach())
    by_pre, by_W_dec = torch.autograd.grad(expected, (pre, W_dec))
    torch.testing.assert_close(found.pre_activations, by_pre)
    torch.testing.assert_close(found.W_dec, by_W_dec)


def test_the_columns_of_dead_features_alone_give_the_same():
    pre, residual, W_dec = case(1)
    dead = torch.zeros(15, dtype=torch.bool)
    dead[[2, 3, 11]] = True
    whole = auxk(pre, residual, W_dec, dead, k=2)
    part = auxk(pre[:, dead], residual, W_dec[dead], dead[dead], k=2)
    torch.testing.assert_close(part.loss, whole.loss)
    torch.testing.assert_close(part.pre_activations, whole.pre_activations[:, dead])
    torch.testing.assert_close(part.W_dec, whole.W_dec[dead])
    assert (whole.W_dec[~dead] == 0).all() and (whole.pre_activations[:, ~dead] == 0).all()


def test_several_saes_at_once_are_each_their_own():
    cases = [case(seed) for seed in range(3)]
    dead = torch.stack([torch.arange(15) % (2 + seed) == 0 for seed in range(3)])
    pre, residual, W_dec = (torch.stack(part) for part in zip(*cases, strict=True))
    together = auxk(pre, residual, W_dec, dead, k=3)
    for seed, alone in enumerate(cases):
        pre, residual, W_dec = alone
        for one, other in zip(together, auxk(pre, residual, W_dec, dead[seed], 3), strict=True):
            torch.testing.assert_close(one[seed], other)


def test_nothing_dead_has_no_gradient():
    pre, residual, W_dec = case(2)
    found = auxk(pre, residual, W_dec, torch.zeros(15, dtype=torch.bool), 4)
    assert found.loss == 0 and not found.pre_activations.any() and not found.W_dec.any()
