"""Cosine alignment: losses against plain loops, gradients against what the formulas say."""

import math

import pytest
import torch

from sae.objectives.cosine_alignment import (
    ROUNDINGS,
    code_in_training,
    cosine_distance,
    reconstruction_loss,
    sparsity_loss,
    topk_mask,
)


@pytest.fixture
def logits():
    return torch.randn(7, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()


def plain_cosine(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True)) / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))


def test_cosine_distance_of_rows_and_of_nothing():
    a, b = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[4.0, 3.0], [1.0, 0.0]])
    torch.testing.assert_close(cosine_distance(a, b), torch.tensor([1 - 24 / 25, 1.0]))


def test_the_mask_has_k_ones_even_where_strengths_saturate():
    logits = torch.tensor([[200.0, 300.0, 100.0, 400.0, -1.0]])
    assert (torch.sigmoid(logits) == 1).sum() == 4
    assert topk_mask(logits, 2).tolist() == [[0, 1, 0, 1, 0]]


@pytest.mark.parametrize("kind", ["cosine", "mse", "l1"])
def test_reconstruction_losses_are_relative_to_the_row(kind):
    generator = torch.Generator().manual_seed(1)
    x, guess = (torch.randn(5, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    power = 2 if kind == "mse" else 1
    total = 0.0
    for row, other in zip(x.tolist(), guess.tolist(), strict=True):
        if kind == "cosine":
            total += 1 - plain_cosine(row, other)
        else:
            error = sum(abs(p - q) ** power for p, q in zip(row, other, strict=True))
            total += error / sum(abs(p) ** power for p in row)
    assert float(reconstruction_loss(kind, x, guess)) == pytest.approx(total / 5)


@pytest.mark.parametrize("target", ["binary", "masked"])
@pytest.mark.parametrize("kind", ["cosine", "mse", "l1"])
def test_sparsity_losses(logits, kind, target):
    strengths = torch.sigmoid(logits).detach()
    mask = topk_mask(logits, 4)
    total = 0.0
    for s, m in zip(strengths.tolist(), mask.tolist(), strict=True):
        wanted = m if target == "binary" else [p * q for p, q in zip(s, m, strict=True)]
        if kind == "cosine":
            total += 1 - plain_cosine(s, wanted)
        else:
            total += sum(abs(p - q) ** (2 if kind == "mse" else 1) for p, q in zip(s, wanted, strict=True)) / 4
    assert float(sparsity_loss(kind, strengths, mask, 4, target)) == pytest.approx(total / 7)


def test_the_gradient_reaches_every_feature_in_proportion_to_its_strength(logits):
    """Outside the K strongest it is c s / |s| over the batch: the derivative of a cosine by hand."""
    strengths = torch.sigmoid(logits)
    mask = topk_mask(logits, 4)
    (slope,) = torch.autograd.grad(sparsity_loss("cosine", strengths, mask, 4), strengths)
    s = strengths.detach()
    norm = s.norm(dim=1, keepdim=True)
    c = (s * mask).sum(1, keepdim=True) / (math.sqrt(4) * norm)
    expected = -(mask / math.sqrt(4) - c * s / norm) / norm / 7
    torch.testing.assert_close(slope, expected)
    assert (slope[mask == 0] > 0).all()


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_roundings_forward_and_backward(logits, rounding):
    mask = topk_mask(logits, 4)
    noise = torch.zeros_like(logits).detach() + 0.3 if rounding == "gumbel" else None
    code = code_in_training(rounding, logits, mask, 1.0, 0.5, noise)
    s = torch.sigmoid(logits).detach()
    y = torch.sigmoid((logits.detach() + (0.3 if rounding == "gumbel" else 0)) / 0.5)
    hard, nothing = (s > 0.5).double(), torch.zeros_like(s)
    forward = {
        "pass_through": hard,
        "soft": s,
        "zero_gradient": hard,
        "gumbel": (y > 0.5).double(),
        "annealed": y,
        "topk": mask,
        "topk_values": s * mask,
    }[rounding]
    torch.testing.assert_close(code.detach(), forward)
    if rounding == "zero_gradient":
        assert not code.requires_grad
        return
    (slope,) = torch.autograd.grad(code.sum(), logits)
    by_s, by_y = s * (1 - s), y * (1 - y) / 0.5
    backward = {"gumbel": by_y, "annealed": by_y, "topk": by_s * mask, "topk_values": by_s * mask}.get(rounding, by_s)
    torch.testing.assert_close(slope, backward + nothing)
