"""Differentiable sparse products, beside PyTorch's own gradients in float64."""

import pytest
import torch

from sae.training.kernels.sparse_products import decoded, encoded, is_sparse

B, D_IN, D_SAE = 37, 19, 64


def operands(share, subtract):
    """Rows, weights and a bias that leaves about `share` of the codes above 0."""
    generator = torch.Generator().manual_seed(0)
    x, W_enc, W_dec = (torch.randn(shape, generator=generator) for shape in ((B, D_IN), (D_IN, D_SAE), (D_SAE, D_IN)))
    b_dec = torch.randn(D_IN, generator=generator)
    b_enc = -((x - b_dec if subtract else x) @ W_enc).quantile(1 - share, dim=0)
    return x, W_enc, b_enc, W_dec, b_dec, torch.randn(B, D_IN, generator=generator)


def gradients(parts, dtype, device, encode, decode, subtract):
    x, W_enc, b_enc, W_dec, b_dec, weight = (part.to(device, dtype) for part in parts)
    leaves = [part.clone().requires_grad_() for part in (W_enc, b_enc, W_dec, b_dec)]
    code = encode(x, leaves[3] if subtract else None, leaves[0], leaves[1]).relu()
    loss = (decode(code, leaves[2], leaves[3]) * weight).sum() + 0.3 * code.square().sum()
    found = torch.autograd.grad(loss, leaves)
    return is_sparse(code), [loss.detach().cpu().double(), *(part.cpu().double() for part in found)]


def plain_encode(x, b_dec, W_enc, b_enc):
    return (x if b_dec is None else x - b_dec) @ W_enc + b_enc


def plain_decode(code, W_dec, b_dec):
    return code @ W_dec + b_dec


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("share", [0.05, 0.45], ids=["sparse", "dense"])
def test_gradients_are_those_of_the_dense_products(device, share, subtract, threads):
    parts = operands(share, subtract)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        sparse, found = gradients(parts, torch.float32, device, encoded, decoded, subtract)
    finally:
        torch.set_num_threads(before)
    _, wanted = gradients(parts, torch.float64, "cpu", plain_encode, plain_decode, subtract)
    assert sparse is (share < 0.1)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_slices_and_codes_without_any_active_feature(device):
    W_dec = torch.randn(D_SAE, D_IN, device=device, requires_grad=True)
    code = torch.zeros(B, D_SAE, device=device)
    code[3, 40] = 2.0
    torch.testing.assert_close(decoded(code[:, 32:], W_dec[32:])[3], 2 * W_dec[40].detach())
    nothing = decoded(torch.zeros(B, D_SAE, device=device), W_dec)
    assert not nothing.any()
    (by_W_dec,) = torch.autograd.grad(nothing.sum(), W_dec)
    assert not by_W_dec.any()


def test_codes_of_zero_that_are_asked_for_get_the_gradient_of_the_dense_product(device):
    generator = torch.Generator().manual_seed(0)
    code = torch.randn(B, D_SAE, generator=generator) * (torch.rand(B, D_SAE, generator=generator) < 0.03)
    also = (torch.rand(B, D_SAE, generator=generator) < 0.03) & (code == 0)
    W_dec, weight = torch.randn(D_SAE, D_IN, generator=generator), torch.randn(B, D_IN, generator=generator)
    code, also, W_dec, weight = (part.to(device) for part in (code, also, W_dec, weight))
    code.requires_grad_()
    (found,) = torch.autograd.grad((decoded(code, W_dec, also=also) * weight).sum(), code)
    wanted = weight.double() @ W_dec.double().T
    taken = also | (code.detach() != 0)
    torch.testing.assert_close(found.double()[taken], wanted[taken], rtol=1e-4, atol=1e-4)
    if device == "cpu":
        assert is_sparse(code.detach()) and not found[~taken].any()
