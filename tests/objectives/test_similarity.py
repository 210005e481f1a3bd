"""Selection of pairs against a plain d x d matrix, and its gradients against autograd through that matrix."""

import numpy as np
import pytest
import torch

from sae.objectives.similarity import (
    SIMILARITIES,
    dense_search,
    measure_of,
    most_alike,
    tiled_search,
    vectors_of,
    with_gradient,
)
from sae.objectives.sparse_gram import entries_of, strongest

GENERATOR = torch.Generator().manual_seed(3)
# Some features never fire, one always does and is constant, some rows are empty; ties come from equal columns.
CODE = torch.rand(50, 23, generator=GENERATOR) * (torch.rand(50, 23, generator=GENERATOR) < 0.12)
CODE[:, 4] = 0
CODE[:, 5] = 1.5
CODE[7] = 0
CODE[:, 9] = CODE[:, 8]
CODE[:, 11] = CODE[:, 8]
W_DEC = torch.randn(23, 6, generator=GENERATOR)


def matrix(kind, code, W_dec):
    """All similarities, [d, d], by the definitions, in float64."""
    v = (W_dec if kind == "dec_cos" else code.T).double()
    if kind == "act_dot":
        return v @ v.T
    if kind == "act_pearson":
        v = v - v.mean(1, keepdim=True)
    norm = v.norm(dim=1)
    v = v / torch.where(norm > 1e-6, norm, torch.inf)[:, None]
    return v @ v.T


def expected(kind, code, W_dec, keep, magnitude=False):
    full = matrix(kind, code, W_dec)
    i, j = torch.triu_indices(len(full), len(full), offset=1)
    values = full[i, j].abs() if magnitude else full[i, j]
    above = values > 1e-9
    values, i, j = values[above], i[above], j[above]
    order = (-values).argsort(stable=True)[:keep]
    return i[order], j[order], values[order]


@pytest.mark.parametrize("kind", SIMILARITIES)
@pytest.mark.parametrize("keep", [1, 7, 40, 1000])
@pytest.mark.parametrize("way", ["sparse", "dense", "threads"])
def test_the_most_alike_pairs_are_those_of_the_whole_matrix(kind, keep, way, device, monkeypatch):
    vectors = vectors_of(kind, CODE, W_DEC)
    if way == "dense":
        vectors = vectors.to(device)
        monkeypatch.setattr("sae.objectives.similarity.BLOCK_ENTRIES", 0)
        monkeypatch.setattr("sae.objectives.similarity.BLOCK_FEATURES", 5)
        found = dense_search(vectors, measure_of(kind, vectors), keep, False, 1e-9)
    else:
        monkeypatch.setattr("sae.objectives.similarity.SPARSE_PRICE", 1e-9)
        before = torch.get_num_threads()
        torch.set_num_threads(3 if way == "threads" else before)
        found = most_alike(kind, vectors, keep, lowest=1e-9)
        torch.set_num_threads(before)
    i, j, values = expected(kind, CODE, W_DEC, keep)
    torch.testing.assert_close(found.similarity.cpu().double(), values, rtol=1e-5, atol=1e-6)
    full = matrix(kind, CODE, W_DEC)
    first, second = found.first.cpu(), found.second.cpu()
    assert bool((first < second).all()) and len({*zip(first.tolist(), second.tolist(), strict=True)}) == len(values)
    torch.testing.assert_close(full[first, second], values, rtol=1e-5, atol=1e-6)
    # moments over all pairs, zeros included
    every = full[tuple(torch.triu_indices(23, 23, offset=1))]
    assert found.mean == pytest.approx(float(every.mean()), abs=1e-6, rel=1e-5)
    assert found.std == pytest.approx(float(every.std(correction=0)), abs=1e-6, rel=1e-5)


def test_of_equally_similar_pairs_the_first_are_taken():
    """Columns 8, 9 and 11 are equal: their three pairs have a cosine of 1, and keep 2 takes (8, 9) and (8, 11)."""
    code = torch.zeros(4, 12)
    code[0, [8, 9, 11]] = 2.0
    found = most_alike("act_cos", code.T, 2)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(8, 9), (8, 11)]
    found = dense_search(code.T, measure_of("act_cos", code.T), 2, False, 0.0)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(8, 9), (8, 11)]


def test_magnitudes_find_opposites():
    code = CODE - 0.3 * (CODE > 0)
    code[:, 2] = -code[:, 1]
    i, j, values = expected("act_pearson", code, W_DEC, 30, magnitude=True)
    for found in (
        most_alike("act_pearson", code.T, 30, magnitude=True),
        dense_search(code.T, measure_of("act_pearson", code.T), 30, True, 0.0),
    ):
        torch.testing.assert_close(found.similarity.double(), values, rtol=1e-5, atol=1e-6)
        assert (1, 2) in set(zip(found.first.tolist(), found.second.tolist(), strict=True))


@pytest.mark.parametrize("sparse_price", [0, 1e9])
@pytest.mark.parametrize("kind", SIMILARITIES)
def test_gradients_of_selected_pairs_are_those_of_the_definition(kind, sparse_price, device, monkeypatch):
    monkeypatch.setattr("sae.objectives.similarity.SPARSE_PRICE", sparse_price or 1e-9)
    code, W_dec = CODE.clone().to(device).requires_grad_(), W_DEC.clone().to(device).requires_grad_()
    vectors = vectors_of(kind, code, W_dec)
    found = most_alike(kind, vectors, 25)
    weights = torch.linspace(-1, 2, len(found.first), device=device)
    (with_gradient(kind, vectors, found) * weights).sum().backward()
    other_code, other_dec = CODE.double().requires_grad_(), W_DEC.double().requires_grad_()
    plain = matrix(kind, other_code, other_dec)[found.first.cpu(), found.second.cpu()]
    (plain * weights.cpu()).sum().backward()
    mine, other = (W_dec.grad, other_dec.grad) if kind == "dec_cos" else (code.grad, other_code.grad)
    if found.active:  # entries that are 0 pass no gradient on
        assert other is not None
        other = other * (CODE != 0)
    assert mine is not None
    torch.testing.assert_close(mine.cpu().double(), other, rtol=1e-4, atol=1e-6)


def test_the_strongest_partners_of_a_feature_against_the_matrix():
    measure = measure_of("act_pearson", CODE.T)
    full = matrix("act_pearson", CODE, W_DEC)
    allowed = np.ones(23, bool)
    allowed[[0, 8]] = False
    which = np.array([9, 3, 4])
    found, values = strongest(
        which, entries_of(CODE.numpy()), np.ones(50), allowed, measure.scale.numpy(), measure.offset.numpy(), 6
    )
    assert (found[2] == -1).all()  # it never fires
    for line, feature in enumerate(which[:2]):
        sizes = full[feature].abs().clone()
        sizes[[0, 8, feature]] = 0
        np.testing.assert_allclose(np.abs(values[line]), sizes.topk(6).values.numpy(), rtol=1e-5)
        np.testing.assert_allclose(values[line], full[feature][found[line]].numpy(), rtol=1e-5)


def dense_codes(n=70, d=40):
    """Half of the entries active, as a ReLU's are at its start; equal, constant and dead features, an empty row."""
    code = torch.randn(n, d, generator=torch.Generator().manual_seed(5)).relu()
    code[:, 6] = 0
    code[:, 7] = 1.5
    code[3] = 0
    code[:, [20, 21, 30]] = code[:, [2]]
    return code


@pytest.mark.parametrize("kind", SIMILARITIES)
@pytest.mark.parametrize("keep", [1, 5, 30])
@pytest.mark.parametrize("way", ["packed", "dense", "threads"])
def test_pairs_of_dense_codes_are_those_of_the_whole_matrix_in_float64(kind, keep, way, monkeypatch):
    code = dense_codes()
    W_dec = torch.randn(40, 9, generator=GENERATOR)
    W_dec[[20, 21, 30]] = W_dec[2].clone()
    monkeypatch.setattr("sae.objectives.similarity.DENSE", 0.0 if way == "dense" else 1.1)
    before = torch.get_num_threads()
    torch.set_num_threads(3 if way == "threads" else before)
    try:
        found = tiled_search(kind, vectors_of(kind, code, W_dec), keep)
    finally:
        torch.set_num_threads(before)
    assert found is not None
    i, j, values = expected(kind, code, W_dec, keep)
    torch.testing.assert_close(found.similarity.double(), values, rtol=1e-7, atol=1e-7)
    full = matrix(kind, code, W_dec)
    torch.testing.assert_close(full[found.first, found.second], values, rtol=1e-12, atol=1e-12)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert len(pairs) == len(values) and all(a < b for a, b in pairs)
    # Of equal ones the first: those above the last value, and of that value the first of the whole matrix.
    last = float(values[-1])
    every = [(a, b) for a in range(40) for b in range(a + 1, 40) if abs(float(full[a, b]) - last) < 1e-12]
    above = sum(float(value) > last + 1e-12 for value in values)
    assert sorted(pairs & set(every)) == sorted(every)[: len(values) - above]
    upper = full[tuple(torch.triu_indices(40, 40, offset=1))]
    assert found.mean == pytest.approx(float(upper.mean()), abs=1e-6, rel=1e-5)
    assert found.std == pytest.approx(float(upper.std(correction=0)), abs=1e-6, rel=1e-5)


def test_more_pairs_wanted_than_are_alike_and_ties_without_end():
    code = torch.zeros(8, 300)
    code[0, [5, 9, 11]] = 1.0
    found = tiled_search("act_cos", code.T, 30)
    assert found is not None
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(5, 9), (5, 11), (9, 11)]
    assert found.similarity.tolist() == [1.0, 1.0, 1.0]
    # All features alike: far more equal pairs than are kept.
    found = tiled_search("act_cos", torch.ones(8, 300).T, 4)
    assert found is not None
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 1), (0, 2), (0, 3), (0, 4)]
    # Codes that are negative go another way; so do those that are no numbers.
    assert tiled_search("act_cos", -code.T, 30) is None
    assert tiled_search("act_cos", torch.full_like(code, float("nan")).T, 30) is None


@pytest.mark.parametrize("kind", ["act_cos", "act_pearson", "act_dot"])
def test_gradients_for_dense_codes_are_those_of_the_definition(kind):
    code = dense_codes(300).requires_grad_()  # more rows than a block
    found = tiled_search(kind, code.detach().T, 35)
    assert found is not None and found.active
    weights = torch.linspace(-1, 2, len(found.first))
    (with_gradient(kind, code.T, found) * weights).sum().backward()
    other = code.detach().double().requires_grad_()
    (matrix(kind, other, W_DEC)[found.first, found.second] * weights).sum().backward()
    assert code.grad is not None and other.grad is not None
    torch.testing.assert_close(code.grad.double(), other.grad * (code > 0), rtol=1e-4, atol=1e-6)
