"""Mechanisms that act between steps, and OrtSAE: against plain loops and formulas written as they were coded."""

import numpy as np
import pytest
import torch

from sae.objectives.adaptive_l1 import AdaptiveL1
from sae.objectives.importance import percentiles
from sae.objectives.mechanism import Features, Seen
from sae.objectives.neighbourhoods import MOST, Neighbourhoods
from sae.objectives.ortsae import OrtSAE
from sae.objectives.pruning import Pruning
from sae.objectives.reallocation import Reallocation

D, D_IN, B = 16, 7, 40
CPU = torch.device("cpu")


def codes(step, share=0.3):
    generator = torch.Generator().manual_seed(step)
    return torch.rand(B, D, generator=generator) * (torch.rand(B, D, generator=generator) < share)


def seen(step, code):
    generator = torch.Generator().manual_seed(100 + step)
    x = torch.randn(len(code), D_IN, generator=generator)
    return Seen(step, x, code, 0.5 * x)


def features():
    generator = torch.Generator().manual_seed(9)
    weights = {
        "W_enc": torch.randn(D_IN, D, generator=generator),
        "b_enc": torch.randn(D, generator=generator),
        "W_dec": torch.randn(D, D_IN, generator=generator),
    }
    return Features(weights, {name: (torch.ones_like(w), torch.ones_like(w)) for name, w in weights.items()})


def test_ortsae_is_the_mean_square_of_the_largest_cosine_in_each_chunk():
    W = torch.randn(D, D_IN, generator=torch.Generator().manual_seed(2))
    penalty = OrtSAE(0.25, chunk=5, every=3, seed=4)
    W.requires_grad_()
    assert penalty.penalty(seen(1, codes(1)), W) is None
    found = penalty.penalty(seen(3, codes(3)), W)
    assert found is not None
    found.backward()
    other = W.detach().double().requires_grad_()
    order = torch.randperm(D, generator=torch.Generator().manual_seed(4 * 1_000_003 + 3))
    chunks = []
    for start in range(0, D, 5):
        rows = other[order[start : start + 5]]
        unit = rows / rows.norm(dim=1, keepdim=True)
        cosines = unit @ unit.T - 3 * torch.eye(len(rows))
        chunks.append(cosines.max(1).values.square().mean() if len(rows) > 1 else cosines.sum() * 0)
    expected = 0.25 * torch.stack(chunks).mean()
    expected.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert W.grad is not None and other.grad is not None
    torch.testing.assert_close(W.grad.double(), other.grad, rtol=1e-4, atol=1e-7)
    assert penalty.summary() == {"ortsae_steps": 1.0}


def test_adaptive_l1_rises_where_codes_are_too_dense():
    mechanism = AdaptiveL1(0.04, target=0.1, momentum=0.9, bounds=(0.01, 0.2))
    share = None
    value = 0.04
    for step, density in enumerate((0.6, 0.6, 0.0, 0.0)):
        code = codes(step, density)
        active = float((code != 0).float().mean())
        share = active if share is None else 0.9 * share + 0.1 * active
        value = min(max(value * (1 + 0.1 * (share - 0.1)), 0.01), 0.2)
        mechanism.act(seen(step, code), features())
        assert mechanism.value == pytest.approx(value)
    assert mechanism.value > 0.04


def test_literal_adaptive_l1_rises_where_codes_are_sparse():
    """As coded: a history of zeros a feature, and the error of its mean from the target."""
    mechanism = AdaptiveL1(0.04, target=0.1, momentum=0.9, bounds=(0.01, 0.2), literal=True)
    history, value = torch.zeros(D), 0.04
    for step in range(30):
        code = codes(step, 0.05)
        history = 0.9 * history + 0.1 * (code == 0).float().mean(0)
        value = float(np.clip(value * (1 + 0.1 * (float(history.mean()) - 0.1)), 0.01, 0.2))
        mechanism.act(seen(step, code), features())
        assert mechanism.value == pytest.approx(value, rel=1e-5)
    assert mechanism.value > 0.1


def test_literal_pruning_takes_what_was_coded():
    prune = Pruning(D, 0.6, window=3, importance=0.9, seed=0, device=CPU, literal=True)
    importance = torch.zeros(D)
    for step in range(6):
        code = codes(step, 0.4)
        code[:, 5] = code[:, 2] * (1 + 0.3 * torch.rand(B, generator=torch.Generator().manual_seed(step)))
        code[:, 9] = code[:, 2]
        which = prune.act(seen(step, code), features())
        if step % 3 != 2:
            assert which is None
            continue
        importance = 0.9 * importance + 0.1 * code.abs().mean(0)
        Z = (code - code.mean(0)) / (code.std(0) + 1e-8)
        corr = (Z.T @ Z / B).abs()
        corr.fill_diagonal_(0)
        less = torch.stack([(importance < importance[i]).float().mean() for i in range(D)])
        expected = [i for i in range(D) if corr[i].max() > 0.6 * (1 + less[i])]
        assert (which.tolist() if which is not None else []) == expected
        if which is not None:
            prune.redrawn(which)
            kept = [i for i in range(D) if i not in expected]
            importance[expected] = importance[kept].mean()
            assert prune.importance is not None
            torch.testing.assert_close(prune.importance.value, importance)
    assert prune.summary()["prune_checks"] == 2


def test_a_pruned_feature_starts_outside_of_what_it_went_with():
    prune = Pruning(D, 0.6, window=2, importance=None, seed=0, device=CPU)
    weights = features()
    before = {name: value.clone() for name, value in weights.weights.items()}
    for step in range(2):
        code = codes(step, 0.4)
        code[:, 5] = 0.5 * code[:, 2]  # alike, and weaker: this one goes
        which = prune.act(seen(step, code), weights)
    assert which is not None and which.tolist() == [5]
    row = weights.weights["W_dec"][5]
    assert float(row.norm()) == pytest.approx(1, rel=1e-5)
    # d_in is 7, and 15 kept features span all of it: the direction is random then; the norms are the kept ones' mean
    others = [i for i in range(D) if i != 5]
    norm = before["W_enc"][:, others].norm(dim=0).mean()
    torch.testing.assert_close(weights.weights["W_enc"][:, 5], row * norm)
    assert float(weights.weights["b_enc"][5]) == 0
    for name, moments in weights.moments.items():
        for moment in moments:
            mine = moment[:, 5] if name == "W_enc" else moment[5]
            assert not mine.any() and int((moment == 0).sum()) == mine.numel()
    for name, value in before.items():
        kept = (slice(None), others) if name == "W_enc" else (others,)
        assert torch.equal(weights.weights[name][kept], value[kept])


def test_new_directions_avoid_the_span():
    from sae.objectives.pruning import _projected

    rows = torch.randn(3, D_IN, generator=torch.Generator().manual_seed(1))
    direction = torch.randn(D_IN, generator=torch.Generator().manual_seed(2))
    outside = direction - _projected(direction, rows)
    assert float((rows @ outside).abs().max()) < 1e-5 and float(outside.norm()) > 0.1


def test_important_features_are_protected():
    """Three features that fire alike: the least important goes, whatever is in the top quarter stays."""
    torch.testing.assert_close(percentiles(torch.tensor([0.0, 3.0, 1.0, 2.0])), torch.tensor([0.0, 1.0, 0.0, 0.5]))
    prune = Pruning(D, 0.6, window=1, importance=0.0, seed=0, device=CPU)
    code = codes(0, 0.4)
    code[:, 1] = 100 * code[:, 0]
    code[:, 2] = 99 * code[:, 0]
    which = prune.act(seen(0, code), features())
    assert which is not None and which.tolist() == [0]  # 1 and 2 are the two most important
    assert prune.summary()["prune_protected"] == 1


def test_reallocation_waits_for_age_and_activity():
    for literal in (False, True):
        mechanism = Reallocation(D, 0.05, window=4, momentum=0.9, seed=0, device=CPU, literal=literal)
        activity = np.zeros(D)
        weights = features()
        norms = weights.encoder_norms.clone()
        for step in range(4):
            code = codes(step, 0.4)
            code[:, 3] = 0
            code[:, 4] = 0
            code[0, 4] = 1.0  # on 1 of 40 rows
            activity = 0.9 * activity + 0.1 * (code != 0).double().mean(0).numpy()
            which = mechanism.act(seen(step, code), weights)
        idle = activity < 0.05 if literal else activity / (1 - 0.9**4) < 0.05
        assert which is not None and which.tolist() == idle.nonzero()[0].tolist() and {3, 4} <= set(which.tolist())
        norm = norms[torch.from_numpy(~idle)].mean() * (1.0 if literal else 0.2)
        torch.testing.assert_close(weights.encoder_norms[which], norm.expand(len(which)))
        mechanism.redrawn(which)
        step = 4
        assert mechanism.act(seen(step, codes(step)), weights) is None
        if not literal:  # directions are residuals of rows of that batch
            residual = seen(3, code).x * 0.5
            unit = residual / residual.norm(dim=1, keepdim=True)
            largest = (weights.weights["W_dec"][which] @ unit.T).max(1).values
            torch.testing.assert_close(largest, torch.ones(len(which)))


def test_neighbourhoods_are_those_of_a_whole_matrix():
    d, radius, momentum, window = 40, 4, 0.8, 3
    neighbours = torch.arange(d)[:, None].repeat(1, MOST)
    mechanism = Neighbourhoods(neighbours, radius, window, momentum)
    A = np.zeros((d, d))
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        code = (torch.rand(B, d, generator=generator) < torch.linspace(0.05, 0.6, d)).float()
        fires = code.numpy()
        A = momentum * A + (1 - momentum) * fires.T @ fires / B
        mechanism.act(seen(step, code), features())
    own = np.diag(A).copy()
    np.fill_diagonal(A, 0)
    ordered = np.argsort(-A, axis=1, kind="stable")
    c = np.array([A[i, ordered[i][:radius]].mean() / own[i] for i in range(d)])
    for i in range(d):
        size = int(np.clip(np.round(radius * c[i] / c.mean()), 8, 128))
        mine = [j for j in neighbours[i].tolist() if j != i]
        assert len(mine) == min(size, int((A[i] > 0).sum()))
        np.testing.assert_allclose(sorted(A[i, mine]), sorted(A[i, ordered[i][: len(mine)]]), rtol=1e-9)
    assert mechanism.summary()["neighbourhood_changes"] == 2
    mechanism.redrawn(torch.tensor([7]))
    assert (neighbours[7] == 7).all() and not mechanism.together[mechanism.partners == 7].any()
