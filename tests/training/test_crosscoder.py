"""Crosscoders: loss and gradients beside a plain PyTorch one, planted features of some layers, weights for raw rows."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from sae.analysis.layer_norms import directions, layer_norms, layer_shares
from sae.common.errors import UserError
from sae.models import build as build_model
from sae.training.config import from_settings
from sae.training.crosscoder import CrosscoderTrainer
from sae.training.group import build
from sae.training.loop import train
from sae.training.rows import ResidentRows, side_by_side
from sae.training.topk_autograd import TopKAutogradTrainer
from tests.training.test_mechanisms import stopped_and_resumed

WIDTH = 12


@pytest.fixture(scope="module")
def layers(x):
    """Rows of three layers, in units and around means of their own."""
    generator = torch.Generator().manual_seed(3)
    found = [x]
    for number in (1, 2):
        bent = (found[-1] - found[-1].mean(0)).relu() @ torch.randn(WIDTH, WIDTH, generator=generator)
        found.append(3 * bent + torch.randn(x.shape, generator=generator) - 20 * number)
    return found


def settings(**more):
    base = {"architecture": "crosscoder", "layers": "2+5+7", "d_sae": 24, "k": 4, "epochs": 2, "batch_size": 50}
    return from_settings({**base, **more})


def trainer(rows, **more):
    found = build([settings(**more)], rows)
    assert isinstance(found, CrosscoderTrainer)
    return found


def plain_crosscoder(rows, read, write, bias, offsets, k):
    """Somebody else's, layer by layer, in PyTorch's own functions: the code, and what each layer is written as.

    Args:
        rows, offsets: [n, d] and [d] of each layer. read, write: [d_sae, d] of each.
    """
    linear = torch.nn.functional.linear
    total = sum(linear(x - b, W) for x, W, b in zip(rows, read, offsets, strict=True)) + bias
    kept = total.topk(k)
    code = torch.zeros_like(total).scatter(1, kept.indices, kept.values.relu())
    return code, [linear(code, W.T, b) for W, b in zip(write, offsets, strict=True)]


def test_loss_and_gradients_are_those_of_a_plain_crosscoder(layers):
    """No other package trains one with TopK: this is the reference."""
    found = trainer(side_by_side(*layers))
    spreads = [float((x - x.mean(0)).square().sum(1).mean().sqrt()) for x in layers]
    batch = [x[:50] for x in layers]
    # each layer about its mean, of a squared norm of a third on average
    scaled = [(x - whole.mean(0)) / s / 3**0.5 for x, whole, s in zip(batch, layers, spreads, strict=True)]
    torch.testing.assert_close(found.scaled(torch.cat(batch, 1)), torch.cat(scaled, 1), rtol=1e-4, atol=1e-5)
    held = {name: value.detach().double() for name, value in found.model.named_parameters()}
    parts = [slice(number * WIDTH, (number + 1) * WIDTH) for number in range(3)]
    read = [held["W_enc"][part].T.clone().requires_grad_() for part in parts]
    write = [held["W_dec"][:, part].clone().requires_grad_() for part in parts]
    offsets = [held["b_dec"][part].clone().requires_grad_() for part in parts]
    bias = held["b_enc"].clone().requires_grad_()
    code, guesses = plain_crosscoder([x.double() for x in scaled], read, write, bias, offsets, 4)
    errors = [(x.double() - guess).square().sum(1) for x, guess in zip(scaled, guesses, strict=True)]
    loss = torch.stack(errors).sum(0).mean()
    loss.backward()
    outcome = found.forward(torch.cat(scaled, 1))
    outcome.loss.backward()
    # the loss is in units of the spread of all layers together, which scaling brought to 1
    torch.testing.assert_close(outcome.loss.double(), loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outcome.code.double(), code, rtol=1e-5, atol=1e-6)
    wanted = {
        "W_enc": torch.cat([W.grad.T for W in read]),
        "W_dec": torch.cat([W.grad for W in write], 1),
        "b_enc": bias.grad,
        "b_dec": torch.cat([b.grad for b in offsets]),
    }
    for name, value in found.model.named_parameters():
        torch.testing.assert_close(value.grad.double(), wanted[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("more", [{}, {"input_scaling": False}, {"subtract_b_dec": False}])
def test_the_stored_model_writes_of_raw_rows_what_the_one_in_training_writes_of_its_own(layers, more):
    found, together = trainer(side_by_side(*layers), lr=3e-3, **more), torch.cat(layers, 1)
    for batch in together[:500].split(50):
        found.step(batch)
    stored, seen = found.finished_model(), found.scaled(together)
    with torch.no_grad():
        code = found.model.code_of(found.pre_activations(seen))
        wanted = found.shift + found.model.decode(code) / (found.scale * found._factors)
        torch.testing.assert_close(stored(together), wanted, rtol=1e-3, atol=5e-3)
        torch.testing.assert_close(stored.encode(together) * found.scale, code, rtol=1e-3, atol=2e-3)
    spreads = torch.tensor([float((x - x.mean(0)).square().sum(1).mean().sqrt()) for x in layers])
    torch.testing.assert_close(stored.layer_spread, spreads)
    if found.common.input_scaling:
        norms = layer_norms(directions(arrays(stored)), 3)
        in_training = found.model.W_dec.detach().unflatten(1, (3, WIDTH)).norm(dim=2).numpy()
        np.testing.assert_allclose(norms, in_training, atol=1e-5)
        np.testing.assert_allclose((norms**2).sum(1), 1, atol=1e-4)


def test_of_one_layer_it_is_a_topk(layers):
    one, other = (
        trainer(ResidentRows(layers[1]), layers="5"),
        from_settings({"d_sae": 24, "k": 4, "epochs": 2, "batch_size": 50}),
    )
    plain = TopKAutogradTrainer(other, ResidentRows(layers[1]))
    for batch in layers[1][:400].split(50):
        assert torch.equal(one.step(batch), plain.step(batch))
    for name, value in plain.finished_model().state_dict().items():
        assert torch.equal(one.finished_model().state_dict()[name], value), name


def arrays(model):
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def planted_layers(d=24, n=1000, shared=24, own=8, seed=0):
    """Rows of three layers: sums of `shared` features that write into all three, and `own` that each layer has alone.

    Returns: rows of each layer, unit directions [atoms, 3 d], and the share of each atom's norm by layer [atoms, 3].
    """
    generator = np.random.default_rng(seed)
    atoms = shared + 3 * own
    shares = np.ones((atoms, 3)) / 3
    for layer in range(3):
        shares[shared + layer * own : shared + (layer + 1) * own] = np.eye(3)[layer]
    unit = generator.standard_normal((atoms, 3, d))
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    directions = unit * shares[:, :, None]
    directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)
    active = generator.random((n, atoms)) < 4 / atoms
    code = active * (0.5 + generator.random((n, atoms)))
    rows = [
        units * (code @ directions[:, layer]) + 3 * generator.standard_normal(d)
        for layer, units in enumerate((1, 10, 0.2))
    ]
    return [torch.from_numpy(x.astype(np.float32)) for x in rows], directions.reshape(atoms, -1), shares


def test_planted_features_and_the_layers_that_they_live_in_are_found():
    rows, atoms, shares = planted_layers()
    config = settings(layers="0+1+2", d_sae=96, k=5, epochs=15, lr=1e-2)
    model = train([config], side_by_side(*rows))[0].model
    spread, even = arrays(model)["layer_spread"], directions(arrays(model))
    even = even / np.linalg.norm(even, axis=1, keepdims=True)
    planted = atoms.reshape(-1, 3, 24) * np.array([1, 10, 0.2])[:, None] / spread[:, None]  # in units of the spreads
    scaled = planted.reshape(len(atoms), -1) / np.linalg.norm(planted, axis=(1, 2))[:, None]
    cosines = scaled @ even.T
    one, other = linear_sum_assignment(-cosines)
    found = cosines[one, other] >= 0.9
    assert found.mean() >= 0.9
    wanted = np.linalg.norm(planted, axis=2)
    wanted /= wanted.sum(1, keepdims=True)
    share = layer_shares(layer_norms(even, 3))[other[found]]
    assert np.quantile(np.abs(share - wanted[one[found]]), 0.95) < 0.15
    alone = shares[one[found]].max(1) == 1
    assert ((share.max(1) > 0.8) == alone).mean() >= 0.95


def test_a_run_that_was_stopped_is_the_undisturbed_one(layers, tmp_path):
    config, rows = settings(auxk_window=64, batch_size=64, epochs=3), side_by_side(*layers)
    whole = train([config], rows)[0]
    resumed = stopped_and_resumed(config, rows, tmp_path / "checkpoint.safetensors", shares=(0.3,))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("layers", ["1-3", "2+2", "", "1+"])
def test_layers_that_cant_be_read_are_refused(layers):
    with pytest.raises(UserError, match="layers"):
        settings(layers=layers)
    assert settings(layers="3,6").layers_read == (3, 6) and settings(layers="all").layers_read is None


def test_rows_that_dont_fit_the_layers_are_refused():
    with pytest.raises(UserError, match="can't have rows of 10"):
        build_model("crosscoder", d_in=10, d_sae=4, k=2, layers=[0, 1, 2])
