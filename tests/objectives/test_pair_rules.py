"""Fractions, thresholds, tau and losses, against numbers worked out by hand and formulas written as they were coded."""

import math

import numpy as np
import pytest
import torch

from sae.objectives.pair_fraction import (
    Taken,
    fraction_at,
    literal_pairs_of_fraction,
    pairs_of_fraction,
)
from sae.objectives.pair_loss import mean_over, pair_loss
from sae.objectives.pair_stability import PairStability
from sae.objectives.pair_threshold import PairThreshold
from sae.objectives.similarity import Found, Measure, most_alike
from sae.objectives.tau import Tau

D = 12
GENERATOR = torch.Generator().manual_seed(1)
CODE = torch.rand(30, D, generator=GENERATOR) * (torch.rand(30, D, generator=GENERATOR) < 0.4)


def test_fractions_rise_as_their_formulas_say():
    ends = (0.001, 0.005)
    assert fraction_at(7, *ends, "constant", 100) == 0.001
    assert fraction_at(25, *ends, "linear", 100) == pytest.approx(0.002)
    assert fraction_at(500, *ends, "linear", 100) == 0.005
    # as written it ends at 0.004973, and is half way at x = 0.139
    assert fraction_at(100, *ends, "exponential", 100) == pytest.approx(0.004973, abs=5e-7)
    assert fraction_at(139, *ends, "exponential", 1000) == pytest.approx(0.003, abs=5e-6)
    assert fraction_at(100, *ends, "exponential_to_end", 100) == pytest.approx(0.005)
    assert fraction_at(0, *ends, "exponential", 100) == 0.001


def test_numbers_of_pairs():
    assert pairs_of_fraction(0.001, 2304, 10) == Taken(2654)  # ceil(0.001 * 2,653,056)
    assert pairs_of_fraction(0.001, 20, 10) == Taken(10)
    assert pairs_of_fraction(0.5, 5, 10) == Taken(10)
    assert pairs_of_fraction(0.2, 6, 0) == Taken(3)
    # as coded: 2,653 and 5,308 entries, in which each pair stands twice
    assert literal_pairs_of_fraction(0.001, 2304, False) == Taken(1327, 2653)
    assert literal_pairs_of_fraction(0.001, 2304, True) == Taken(2654, 5308)


def found(values, d=D, total=0.0, squares=0.0):
    n = len(values)
    ids = torch.triu_indices(d, d, offset=1)[:, :n]
    nothing = torch.zeros(d, dtype=torch.float64)
    return Found(ids[0], ids[1], torch.tensor(values), total, squares, d, Measure(nothing, nothing, nothing))


def test_losses_by_hand():
    c = torch.tensor([0.9, 0.5, 0.1])
    assert float(pair_loss("hinge", c, 0.4)) == pytest.approx((0.25 + 0.01) / 3)
    assert float(pair_loss("linear", c, 0.4)) == pytest.approx(0.6 / 3)
    assert float(pair_loss("plain", c, 0.4)) == pytest.approx((0.81 + 0.25 + 0.01) / 3)
    assert float(pair_loss("tau_weight", c, 0.4)) == pytest.approx(0.4 * 0.5)
    assert float(pair_loss("hinge", torch.empty(0), 0.4)) == 0.0
    # five entries of the matrix: the last pair stands in them once
    assert float(mean_over(c, 5)) == pytest.approx((2 * 0.9 + 2 * 0.5 + 0.1) / 5)
    assert float(mean_over(c, 10)) == pytest.approx(2 * 1.5 / 10)  # the rest are zeros


def test_tau_by_momentum_as_a_margin_and_as_it_was_coded():
    margin = Tau("momentum", 0.1, 0.9, 0.1, (0.01, 0.5))
    level, tau = 0.8, 0.1
    for mean in (0.8, 0.2, 0.2):
        level = 0.9 * level + 0.1 * mean  # 0.8, 0.74, 0.686
        tau = min(max(0.9 * tau + 0.1 * level, 0.01), 0.5)
        assert margin.move(found([mean]), mean) == pytest.approx(tau)
    assert tau == pytest.approx(0.2729)  # 0.17, 0.227, 0.2729
    literal = Tau("momentum", 0.1, 0.9, 0.1, (0.01, 0.5), literal=True)
    assert literal.move(found([0.3]), 0.3) == pytest.approx(0.9 * 0.1 + 0.1 * 0.1 * 0.3 / 0.1)  # 0.12
    assert literal.move(found([0.0]), 0.0) == pytest.approx(0.108)
    # sums over a batch of thousands are far above the target: at the bound at once, and no longer adaptive
    assert literal.move(found([900.0]), 900.0) == 0.5
    assert literal.changes == 3
    fixed = Tau("fixed", 0.1, 0.9, 0.1, (0.01, 0.5))
    assert fixed.move(found([0.3]), 0.3) == 0.1 and fixed.changes == 0


def test_tau_of_all_pairs():
    all_pairs = most_alike("act_cos", CODE.T, 3)
    unit = CODE.double() / CODE.double().norm(dim=0)
    full = unit.T @ unit
    upper = full[tuple(torch.triu_indices(D, D, offset=1))]
    tau = Tau("mean_std", 0.1, 0.9, 0.1, (0.01, 0.5))
    assert tau.move(all_pairs, 0.0) == pytest.approx(float(upper.mean() + upper.std(correction=0)), rel=1e-6)
    # as coded: torch.std over what a mask off the diagonal leaves
    off = full[~torch.eye(D, dtype=torch.bool)]
    literal = Tau("mean_std", 0.1, 0.9, 0.1, (0.01, 0.5), literal=True)
    assert literal.move(all_pairs, 0.0) == pytest.approx(float(off.mean() + off.std()), rel=1e-6)


def test_the_threshold_follows_the_batches_within_its_bounds():
    rule = PairThreshold(2.0, 0.9, minimum=3, most=6)
    pairs = D * (D - 1) // 2
    values = [0.9] * 2 + [0.55] * 2 + [0.2] * 9
    total, squares = sum(values), sum(v * v for v in values)
    mean = total / pairs
    std = math.sqrt(squares / pairs - mean * mean)
    threshold = 0.9 * 0.5 + 0.1 * (mean + 2 * std)
    assert 0.2 < threshold < 0.55
    assert rule.taken(found(values, total=total, squares=squares)) == Taken(4)
    assert float(rule.value) == pytest.approx(threshold)
    assert rule.taken(found([0.1] * 9)) == Taken(3)  # never fewer than the least
    assert rule.taken(found([0.95] * 30)) == Taken(6)  # nor more than the most


def literal_step(code, threshold, tau):
    """A step as it was coded: dense sums, the diagonal set to 0, top-n of the flattened matrix, tau as a weight."""
    P = (code.T @ code).abs()
    P = P * (1 - torch.eye(len(P), dtype=P.dtype))
    threshold = 0.9 * threshold + 0.1 * (P.mean() + 2 * P.std()).item()
    n = max(10, int((threshold < P).sum().item()) // 2)
    selected = P.flatten().topk(n).values
    tau = min(max(0.9 * tau + 0.1 * tau * (selected.mean().item() / 0.1), 0.01), 0.5)
    return tau * selected.mean(), threshold, tau


@pytest.mark.parametrize("scale", [1.0, 0.05])
def test_literal_selection_and_loss_are_what_was_coded(scale):
    from sae.objectives.mechanism import Seen
    from sae.objectives.orthogonality import Orthogonality

    rule = PairThreshold(2.0, 0.9, minimum=10, most=1, literal=True)
    tau = Tau("momentum", 0.1, 0.9, 0.1, (0.01, 0.5), literal=True)
    mechanism = Orthogonality("tau_weight", 1.0, "act_dot", rule, lambda step: 0.0, tau, PairStability(5))
    threshold, weight = 0.5, 0.1
    for step in range(4):
        code = (scale * CODE.roll(step, 0)[: 20 + step]).requires_grad_()
        value = mechanism.penalty(Seen(step, code, code, code), torch.zeros(D, 3))
        value.backward()
        other = code.detach().double().requires_grad_()
        expected, threshold, weight = literal_step(other, threshold, weight)
        expected.backward()
        assert code.grad is not None
        assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        assert float(rule.value) == pytest.approx(threshold, rel=1e-5) and tau.value == pytest.approx(weight, rel=1e-5)
        assert code.grad is not None
    torch.testing.assert_close(code.grad.double(), other.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", ["plain", "linear"])
def test_literal_fractions_are_what_was_coded(loss):
    """Document 003: normalised columns, the flattened matrix, and for the linear hinge a margin from all of it."""
    from sae.objectives.mechanism import Seen
    from sae.objectives.orthogonality import Orthogonality

    fraction = 0.15
    tau = Tau("mean_std" if loss == "linear" else "fixed", 0.1, 0.9, 0.1, (0.01, 0.5), literal=True)
    taken = literal_pairs_of_fraction(fraction, D, loss == "linear")
    mechanism = Orthogonality(loss, 0.1, "act_cos", lambda step: taken, lambda step: 0.0, tau, PairStability(5))
    code = CODE.clone().requires_grad_()
    value = mechanism.penalty(Seen(0, code, code, code), torch.zeros(D, 3))
    value.backward()
    other = CODE.double().requires_grad_()
    unit = other / (other.norm(dim=0, keepdim=True) + 1e-8)
    C = unit.T @ unit
    C = C * (1 - torch.eye(D, dtype=C.dtype))
    if loss == "plain":
        selected = C.flatten().topk(int(fraction * D * (D - 1) / 2)).values
        expected = 0.1 * selected.square().mean()
    else:
        off = C[~torch.eye(D, dtype=torch.bool)].detach()
        selected = C.flatten().topk(int(fraction * D * D)).values
        expected = 0.1 * (selected - (off.mean() + off.std())).relu().mean()
    expected.backward()
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert code.grad is not None
    torch.testing.assert_close(code.grad.double(), other.grad, rtol=1e-4, atol=1e-7)


def test_stability_of_selections_by_hand():
    stability = PairStability(2)
    for pairs in ([1, 2, 3], [2, 3], [3, 4], [3, 4], [5, 6, 3]):
        stability.add(np.array(pairs))
    figures = stability.figures()
    # 12 pair-steps; 3 + 0 + 1 + 0 + 2 times that a pair came in
    assert figures["pair_lifetime"] == pytest.approx(12 / 6)
    assert figures["pair_jaccard"] == pytest.approx(1 / 4)  # {5, 6, 3} and {3, 4}
    # steps 2 and 3 both selected {3, 4}: two pairs, half each
    assert figures["pair_entropy"] == pytest.approx(math.log(2))
    assert stability.summary()["pair_jaccard"] == pytest.approx((1 / 4 + 1 / 4) / 2)
    other = PairStability(2)
    other.restore({name: value.clone() for name, value in stability.held().items()})
    for each in (stability, other):
        each.add(np.array([3, 9]))
    assert other.figures() == stability.figures()
