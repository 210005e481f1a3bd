"""Lateral inhibition against its definition written as loops, and models that carry it."""

import pytest
import torch

from sae.common.errors import UserError
from sae.models import build
from sae.models.inhibition import Inhibition

D = 20


def neighbours(module, i):
    if module.kind == "adaptive":
        return [j for j in module.neighbours[i].tolist() if j != i]
    places = list(range(D)) if module.kind == "fixed" else module.order.tolist()
    place = places.index(i)
    return [places[(place + step) % D] for step in range(-module.radius, module.radius + 1) if step]


@pytest.mark.parametrize("kind", ["fixed", "permuted", "adaptive"])
@pytest.mark.parametrize("radius", [1, 3, 4, 7])
def test_weaker_neighbours_lose_a_share(kind, radius):
    generator = torch.Generator().manual_seed(radius)
    module = Inhibition(D, kind, radius, strength=0.4, threshold=0.6)
    if kind == "permuted":
        module.order.copy_(torch.randperm(D, generator=generator))
    if kind == "adaptive":
        module.neighbours[3] = 3  # it has none
        module.neighbours[4, :2] = torch.tensor([17, 18])
    code = torch.rand(30, D, generator=generator) * (torch.rand(30, D, generator=generator) < 0.5)
    code[:, 7] *= -1  # top-K by magnitude keeps signs
    expected = code.clone()
    for row in range(30):
        for i in range(D):
            strongest = max((abs(float(code[row, j])) for j in neighbours(module, i)), default=0.0)
            if abs(float(code[row, i])) < 0.6 * strongest:
                expected[row, i] *= 1 - 0.4
    torch.testing.assert_close(module(code), expected)
    assert int(module.last_damped) == int((expected != code).sum())


@pytest.mark.parametrize("kind", ["fixed", "permuted", "adaptive"])
def test_a_model_is_built_again_with_its_neighbourhoods_and_encodes_row_by_row(kind):
    generator = torch.Generator().manual_seed(0)
    settings = {"kind": kind, "radius": 3, "strength": 0.5, "threshold": 0.9}
    for architecture, more in (("standard", {}), ("topk", {"k": 8}), ("matryoshka", {"k": 8, "prefixes": [10, D]})):
        model = build(architecture, d_in=5, d_sae=D, inhibition=settings, **more)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if kind == "permuted":
                assert model.inhibition is not None
                model.inhibition.order.copy_(torch.randperm(D, generator=generator))
        again = build(architecture, **model.hyperparameters())
        # run folders hold float32 alone
        again.load_state_dict({name: value.float() for name, value in model.state_dict().items()})
        x = torch.randn(9, 5, generator=generator)
        code = model.encode(x)
        assert torch.equal(again.encode(x), code)
        torch.testing.assert_close(torch.cat([model.encode(row[None]) for row in x]), code)
        sparse = model.sparse_encode(x)
        torch.testing.assert_close(model.sparse_decode(sparse), model(x))
        assert len(sparse.values) == int((code != 0).sum())
        plain = build(architecture, d_in=5, d_sae=D, **more)
        plain.load_state_dict(model.state_dict(), strict=False)
        assert "inhibition" not in plain.hyperparameters() and not torch.equal(plain.encode(x), code)


@pytest.mark.parametrize("share", [0.02, 0.4])
def test_listed_neighbours_are_the_same_on_the_cpu_as_by_tensors(share):
    generator = torch.Generator().manual_seed(1)
    module = Inhibition(300, "adaptive", 32, threshold=0.5)  # whose products are exact in any precision
    module.neighbours.copy_(torch.randint(0, 300, (300, 128), generator=generator))
    module.neighbours[:50, 10:] = torch.arange(50)[:, None]
    code = torch.randn(70, 300, generator=generator) * (torch.rand(70, 300, generator=generator) < share)
    # Tensors of half precision, which numpy can't hold for the compiled loop, take the way of a GPU.
    by_tensors = module.damped(code.bfloat16())
    assert torch.equal(module.damped(code.bfloat16().float()), by_tensors.float())
    assert 0 < by_tensors.sum() < (code != 0).sum()


def test_gradients_go_through_what_is_kept():
    module = Inhibition(6, "fixed", 1, strength=0.25, threshold=0.5)
    code = torch.tensor([[1.0, 0.4, 0.0, 0.3, 0.0, 0.6]], requires_grad=True)
    module(code).sum().backward()
    assert code.grad is not None and code.grad.tolist() == [[1.0, 0.75, 1.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "near"}, "take one of fixed, permuted, adaptive"),
        ({"radius": 3}, "leave features outside of it: d_sae is 6"),
        ({"radius": 0}, "must be at least 1"),
    ],
)
def test_what_can_not_be(settings, said):
    with pytest.raises(UserError, match=said):
        Inhibition(6, **settings)
