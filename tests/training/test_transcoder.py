"""Transcoders: the loss in NumPy, gradients by differences, planted pairs of directions, resume, both means folded."""

import numpy as np
import pytest
import torch

from sae.common.errors import UserError
from sae.models.transcoder import Transcoder
from sae.training.config import from_settings
from sae.training.group import build
from sae.training.loop import train
from sae.training.rows import ResidentRows, side_by_side
from sae.training.transcoder import TranscoderTrainer
from tests.training.planted_pairs import planted, share_found
from tests.training.test_architectures import agree
from tests.training.test_mechanisms import stopped_and_resumed
from tests.training.test_standard import PLACES

WIDTH = 12


@pytest.fixture(scope="module")
def pairs(x):
    """Rows, and others that are read off them, in other units and around another mean."""
    generator = torch.Generator().manual_seed(3)
    bent = (x - x.mean(0)).relu() @ torch.randn(12, 12, generator=generator)
    return x, 5 * bent + 0.2 * torch.randn(x.shape, generator=generator) - 30


def trainer(pairs, **settings):
    base = {"architecture": "transcoder", "d_sae": 24, "k": 4, "epochs": 2, "batch_size": 50}
    found = build([from_settings({**base, **settings})], side_by_side(*pairs))
    assert isinstance(found, TranscoderTrainer)
    return found


@pytest.mark.parametrize(("selection", "skip", "multi"), [("signed", False, False), ("magnitude", True, True)])
def test_the_loss_and_gradients(pairs, selection, skip, multi):
    found = trainer(pairs, selection=selection, skip=skip, multi_topk=multi)
    if found.model.W_skip is not None:
        with torch.no_grad():
            found.model.W_skip.copy_(0.1 * torch.randn(12, 12, generator=torch.Generator().manual_seed(1)))
    rows = found.scaled(torch.cat(pairs, dim=1)[:50])
    assert float(rows[:, :WIDTH].square().sum(1).mean()) == pytest.approx(1, rel=0.3)
    assert float(rows[:, WIDTH:].square().sum(1).mean()) == pytest.approx(1, rel=0.3)
    read, written = rows[:, :WIDTH].double().numpy(), rows[:, WIDTH:].double().numpy()

    def error(w, k):
        a = read @ w["W_enc"] + w["b_enc"]
        score = a if selection == "signed" else np.abs(a)
        f = np.where(score >= np.sort(score, axis=1)[:, -k][:, None], a, 0)
        f = np.maximum(f, 0) if selection == "signed" else f
        guess = f @ w["W_dec"] + w["b_dec"] + (read @ w["W_skip"] if skip else 0)
        return ((written - guess) ** 2).mean()

    def plain(w):
        return (error(w, 4) + (error(w, 16) / 8 if multi else 0)) / found.variance

    places = {**PLACES, **({"W_skip": [(0, 0), (7, 3)]} if skip else {})}
    agree(found, rows, plain, tuple(places), places)


@pytest.mark.parametrize("scaled", [True, False])
def test_the_stored_model_writes_from_raw_rows_what_the_one_in_training_writes_from_its_own(pairs, scaled):
    found = trainer(pairs, skip=True, lr=3e-3, input_scaling=scaled, epochs=4)
    together = torch.cat(pairs, dim=1)
    for batch in together[:500].split(50):
        found.step(batch)
    stored, seen = found.finished_model(), found.scaled(together)[:, :WIDTH]
    with torch.no_grad():
        wanted = found.model(seen) / found.scale + found.shift
        torch.testing.assert_close(stored(pairs[0]), wanted, rtol=1e-3, atol=2e-3)
        code = found.model.encode(seen)
        torch.testing.assert_close(stored.encode(pairs[0]) * found.scale, code, rtol=1e-3, atol=1e-3)
        sparse = stored.sparse_encode(pairs[0])
        torch.testing.assert_close(stored.sparse_forward(pairs[0], sparse), stored(pairs[0]), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.reconstruct(0)(together), stored(pairs[0]))
    assert found.model.W_skip is not None and float(found.model.W_skip.detach().abs().max()) > 0


@pytest.mark.parametrize("start", [{}, {"decoder_init": "zero", "decoder_norm": "initial"}])
def test_planted_pairs_of_directions_are_found(device, start):
    (x, _), (y, atoms) = planted(2)
    config = from_settings({"architecture": "transcoder", "d_sae": 64, "k": 4, "epochs": 30, "lr": 1e-2, **start})
    model = train([config], side_by_side(x.to(device), y.to(device)))[0].model.cpu()
    assert share_found(model.W_dec, atoms) >= 0.85
    with torch.no_grad():
        error, spread = (y - model(x)).square().sum(), (y - y.mean(0)).square().sum()
    assert 1 - float(error / spread) > 0.75


def test_the_skip_connection_learns_what_is_linear(pairs):
    """Where the rest is one constant, a linear map explains all."""
    x = pairs[0]
    y = x @ torch.randn(12, 12, generator=torch.Generator().manual_seed(2)) + 7
    base = {"architecture": "transcoder", "d_sae": 24, "k": 2, "epochs": 30, "lr": 2e-2}
    found = {}
    for skip in (True, False):
        config = from_settings({**base, "skip": skip})
        trained = train([config], side_by_side(x, y), torch.cat([x, y], dim=1))[0]
        found[skip] = trained.history["validation_ev_total"].iloc[-1]
    assert found[True] > 0.99 > found[False]


def test_a_run_that_was_stopped_is_the_undisturbed_one(pairs, device, tmp_path):
    settings = {"skip": True, "multi_topk": True, "auxk_window": 64, "inhibition": "permuted", "inhibition_radius": 5}
    base = {"architecture": "transcoder", "d_sae": 60, "k": 6, "epochs": 3, "batch_size": 64}
    wanted, rows = from_settings({**base, **settings}), side_by_side(*(side.to(device) for side in pairs))
    whole = train([wanted], rows)[0]
    resumed = stopped_and_resumed(wanted, rows, tmp_path / "checkpoint.safetensors", shares=(0.3,))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.history.drop(columns="seconds").equals(resumed.history.drop(columns="seconds"))


def test_moments_of_rows_side_by_side_are_those_of_the_rows(pairs):
    joined, plain = side_by_side(*pairs), ResidentRows(torch.cat(pairs, dim=1))
    torch.testing.assert_close(joined.mean, plain.mean)
    assert joined.centred_norm == pytest.approx(plain.centred_norm)
    assert joined.moments.parts[1].centred_norm == pytest.approx(ResidentRows(pairs[1]).centred_norm)


def test_where_a_transcoder_writes():
    def place(layer, position, **settings):
        return from_settings({"architecture": "transcoder", **settings}).target_place(layer, position)

    assert place(3, None) == (4, None)
    assert place(3, 2, target_layer="same", target_position="+1") == (3, 3)
    assert place(3, 2, target_layer="9", target_position="-2") == (9, 0)
    with pytest.raises(UserError, match="these rows have none"):
        place(None, None)
    with pytest.raises(UserError, match="writes another slice than it reads"):
        place(3, 2, target_layer="3")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target_layer": "next"}, "must be a number"),
        ({"decoder_init": "zero"}, "needs decoder_norm=initial"),
        ({"reallocation": True}, "features have two"),
        ({"encoder_init": "tied"}, "is not a setting"),
    ],
)
def test_settings_that_make_no_sense(settings, said):
    with pytest.raises(UserError, match=said):
        from_settings({"architecture": "transcoder", **settings})


def test_a_transcoder_has_no_skip_unless_it_is_asked_for():
    assert "W_skip" not in Transcoder(4, 8, 2).state_dict()
