"""TopK against a loop written here, row by row."""

import numpy as np
import pytest
import torch

from sae.common.errors import UserError
from sae.models import build


def random_model(selection: str, seed: int = 0, d_in: int = 7, d_sae: int = 13, k: int = 4):
    generator = torch.Generator().manual_seed(seed)
    model = build("topk", d_in=d_in, d_sae=d_sae, k=k, selection=selection)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model, torch.randn(29, d_in, generator=generator)


def by_hand(model, x, selection):
    """Activations and reconstructions in numpy float64, one row at a time."""
    W_enc, b_enc, W_dec, b_dec = (
        getattr(model, n).detach().double().numpy() for n in ("W_enc", "b_enc", "W_dec", "b_dec")
    )
    activations, reconstructions = [], []
    for row in x.double().numpy():
        pre = (row - b_dec) @ W_enc + b_enc
        order = sorted(range(len(pre)), key=lambda j: -(pre[j] if selection == "signed" else abs(pre[j])))
        f = np.zeros(len(pre))
        for j in order[: model.k]:
            f[j] = max(pre[j], 0.0) if selection == "signed" else pre[j]
        activations.append(f)
        reconstructions.append(f @ W_dec + b_dec)
    return np.array(activations), np.array(reconstructions)


@pytest.mark.parametrize("selection", ["signed", "magnitude"])
def test_every_way_through_the_model_agrees_with_a_loop(selection):
    model, x = random_model(selection)
    f, guess = by_hand(model, x, selection)
    np.testing.assert_allclose(model.encode(x).detach(), f, atol=1e-5)
    np.testing.assert_allclose(model(x).detach(), guess, atol=1e-4)
    np.testing.assert_allclose(model.decode(model.encode(x)).detach(), guess, atol=1e-4)
    codes = model.sparse_encode(x)
    np.testing.assert_allclose(model.sparse_decode(codes).detach(), guess, atol=1e-4)
    assert codes.indptr[-1] == len(codes.values) == (f != 0).sum()
    dense = np.zeros_like(f)
    for i in range(len(x)):
        span = slice(codes.indptr[i], codes.indptr[i + 1])
        assert (np.diff(codes.features[span]) > 0).all()
        dense[i, codes.features[span]] = codes.values[span].detach()
    np.testing.assert_allclose(dense, f, atol=1e-5)


def test_signed_keeps_no_negative_value_and_magnitude_keeps_signs():
    signed, x = random_model("signed")
    magnitude, _ = random_model("magnitude")
    assert (signed.encode(x) >= 0).all()
    assert (magnitude.encode(x) < 0).any()
    assert ((magnitude.encode(x) != 0).sum(1) == 4).all()


def test_a_slot_without_a_positive_value_is_not_an_activation():
    model = build("topk", d_in=3, d_sae=5, k=4)
    with torch.no_grad():
        model.b_enc.copy_(torch.tensor([1.0, -1.0, -1.0, -1.0, -1.0]))
    codes = model.sparse_encode(torch.zeros(2, 3))
    assert codes.indptr.tolist() == [0, 1, 2] and codes.features.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": 14}, "k 14 must lie between 1 and d_sae 13"),
        ({"k": 0}, "between 1 and"),
        ({"selection": "largest"}, "'largest' is not known"),
        ({"colour": 1}, "can't be built"),
    ],
)
def test_what_can_not_be_built_says_why(changes, said):
    with pytest.raises(UserError, match=said):
        build("topk", **{"d_in": 7, "d_sae": 13, "k": 4, **changes})


def test_unknown_architecture_names_those_that_are_there():
    with pytest.raises(UserError, match=r"'gru' is not known: take one of topk, binary, standard"):
        build("gru", d_in=1, d_sae=1)


def test_hyperparameters_build_the_same_model_again():
    model, x = random_model("magnitude")
    again = build(model.architecture, **model.hyperparameters())
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize("centred", [True, False])
def test_standard_is_a_relu_of_an_affine_map(centred):
    generator = torch.Generator().manual_seed(3)
    model = build("standard", d_in=5, d_sae=9, apply_b_dec_to_input=centred)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(11, 5, generator=generator)
    f = np.maximum(
        (x.numpy() - (model.b_dec.detach().numpy() if centred else 0)) @ model.W_enc.detach().numpy()
        + model.b_enc.detach().numpy(),
        0,
    )
    np.testing.assert_allclose(model.encode(x).detach(), f, atol=1e-5)
    np.testing.assert_allclose(model.sparse_decode(model.sparse_encode(x)).detach(), model(x).detach(), atol=1e-5)
