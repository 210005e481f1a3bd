"""Deeper encoders and decoders: the loss in NumPy, gradients by differences, planted atoms, folding, resume."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from sae.common.errors import UserError
from sae.models.deep import DeepTopK
from sae.training.config import from_settings
from sae.training.deep import DeepTopKTrainer
from sae.training.loop import train
from sae.training.rows import ResidentRows
from tests.training.planted_pairs import planted, share_found
from tests.training.test_architectures import agree
from tests.training.test_mechanisms import stopped_and_resumed
from tests.training.test_standard import PLACES, trainer

BENT = {
    "relu": lambda h: np.maximum(h, 0),
    "gelu": lambda h: h * (1 + erf(h / np.sqrt(2))) / 2,
    "identity": lambda h: h,
}


def moved(x, **settings):
    """A trainer whose further layers do something."""
    found = trainer(x, "deep-topk", **settings)
    assert isinstance(found, DeepTopKTrainer)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in found.parameters.items():
            if name.endswith(".C"):
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return found


def layers(w, part, h, bend):
    for number in range(2):
        if f"{part}.{number}.A" in w:
            A, a, C = (w[f"{part}.{number}.{name}"] for name in "AaC")
            h = h + bend(h @ A + a) @ C
    return h


@pytest.mark.parametrize(("bend", "depth"), [("relu", (2, 1)), ("gelu", (3, 3)), ("identity", (1, 2))])
def test_the_loss_and_gradients(x, bend, depth):
    found = moved(x, nonlinearity=bend, encoder_layers=depth[0], decoder_layers=depth[1])
    rows = found.scaled(x[:50])
    given = rows.double().numpy()

    def plain(w):
        a = layers(w, "encoder", given - w["b_dec"], BENT[bend]) @ w["W_enc"] + w["b_enc"]
        f = np.where(a >= np.sort(a, axis=1)[:, -4][:, None], np.maximum(a, 0), 0)
        guess = layers(w, "decoder", f @ w["W_dec"], BENT[bend]) + w["b_dec"]
        return ((given - guess) ** 2).mean() / found.variance

    own = [name for name in found.parameters if "." in name]
    assert len(own) == 3 * (sum(depth) - 2)
    places = {**PLACES, **{name: [(3,) if name.endswith(".a") else (2, 5)] for name in own}}
    agree(found, rows, plain, tuple(places), places)


@pytest.mark.parametrize("bend", ["relu", "gelu", "identity"])
def test_the_stored_model_gives_for_raw_rows_what_the_one_in_training_gives_for_its_own(x, bend):
    found = moved(x, nonlinearity=bend, encoder_layers=3, decoder_layers=2, lr=3e-3, epochs=4)
    for batch in x[:500].split(50):
        found.step(batch)
    stored, seen = found.finished_model(), found.scaled(x)
    assert stored.architecture == found.config.model_architecture == ("topk" if bend == "identity" else "deep-topk")
    with torch.no_grad():
        torch.testing.assert_close(stored(x), found.model(seen) / found.scale + found.shift, rtol=1e-3, atol=1e-3)
        code = found.model.encode(seen)
        torch.testing.assert_close(stored.encode(x) * found.scale, code, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(stored.sparse_decode(stored.sparse_encode(x)), stored(x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(stored.decode(stored.encode(x)), stored(x), rtol=1e-4, atol=1e-4)


def test_it_starts_as_the_topk_of_the_same_seed(x):
    deep, flat = trainer(x, "deep-topk", encoder_layers=3, decoder_layers=3), trainer(x, "topk", multi_topk=True)
    torch.testing.assert_close(deep.finished_model()(x), flat.finished_model()(x))


@pytest.mark.parametrize("settings", [{"encoder_layers": 3, "nonlinearity": "relu"}])
def test_planted_atoms_are_found(device, settings):
    ((x, atoms),) = planted(1)
    base = {"architecture": "deep-topk", "d_sae": 64, "k": 4, "epochs": 30, "lr": 1e-2}
    model = train([from_settings({**base, **settings})], ResidentRows(x.to(device)))[0].model
    assert isinstance(model, DeepTopK)
    assert share_found(model.W_dec, atoms) >= 0.85


def test_a_run_that_was_stopped_is_the_undisturbed_one(x, device, tmp_path):
    settings = {"encoder_layers": 2, "decoder_layers": 3, "reallocation": True, "reallocation_window": 7}
    base = {"architecture": "deep-topk", "d_sae": 60, "k": 6, "epochs": 4, "batch_size": 64, "auxk_window": 64}
    wanted, rows = from_settings({**base, **settings}), ResidentRows(x.to(device))
    whole = train([wanted], rows)[0]
    resumed = stopped_and_resumed(wanted, rows, tmp_path / "checkpoint.safetensors", shares=(0.3,))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.summary == resumed.summary


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"encoder_layers": 4}, "encoder_layers 4 must lie between 1 and 3"),
        ({"nonlinearity": "tanh"}, "take one of relu, gelu, identity"),
        ({"subtract_b_dec": False}, "is a setting of topk"),
    ],
)
def test_settings_that_make_no_sense(settings, said):
    with pytest.raises(UserError, match=said):
        from_settings({"architecture": "deep-topk", **settings})
