"""AuxK against its formula with dense operations, and its gradient against finite differences."""

import pytest
import torch

from sae.objectives.auxk import auxk_loss


def by_formula(pre, residual, W_dec, dead, k):
    """The paper's normalised error, from a loop over rows."""
    total = torch.zeros((), dtype=pre.dtype)
    for row in range(len(pre)):
        strongest = sorted((j for j in range(len(dead)) if dead[j]), key=lambda j: -float(pre[row, j].detach()))[:k]
        guess = sum((pre[row, j].clamp_min(0) * W_dec[j] for j in strongest), torch.zeros_like(residual[row]))
        total = total + (residual[row] - guess).square().sum()
    spread = (residual - residual.mean(0)).square().sum()
    return min(int(dead.sum()) / k, 1.0) * total / spread


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return random(9, 15), random(9, 6), random(15, 6)


@pytest.mark.parametrize("n_dead", [1, 3, 8, 15])
def test_value_and_gradients(case, n_dead):
    pre, residual, W_dec = (part.clone().requires_grad_() for part in case)
    dead = torch.arange(15) < n_dead
    loss = auxk_loss(pre, residual, W_dec, dead, k=4)
    expected = by_formula(pre, residual.detach(), W_dec, dead, 4)
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, (pre, W_dec))
    wanted = torch.autograd.grad(expected, (pre, W_dec))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert found[0][:, n_dead:].abs().max() == 0 if n_dead < 15 else True


def test_the_residual_is_only_a_target(case):
    pre, residual, W_dec = case
    residual = residual.requires_grad_()
    W_dec = W_dec.requires_grad_()
    auxk_loss(pre, residual, W_dec, torch.ones(15, dtype=torch.bool), 4).backward()
    assert residual.grad is None and W_dec.grad is not None


def test_nothing_dead_costs_nothing(case):
    pre, residual, W_dec = case
    assert auxk_loss(pre, residual, W_dec, torch.zeros(15, dtype=torch.bool), 4) == 0
