"""Losses, gradients and codes on weights and rows that other packages were given too (`fixtures/make_peers.py`)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sae.models.transcoder import Transcoder
from sae.training.batchtopk import BatchTopKTrainer
from sae.training.config import from_settings
from sae.training.group import build
from sae.training.mechanisms import MechanismsTrainer
from sae.training.panneal import PAnnealTrainer
from sae.training.rows import ResidentRows, side_by_side

PEERS = {name: torch.from_numpy(value) for name, value in np.load(Path(__file__).parent / "fixtures/peers.npz").items()}
PLAIN = {"loss": "mse", "auxk_coefficient": 0.0, "decoder_init": "random"}  # the squared error alone


def on_the_same_weights(**settings) -> MechanismsTrainer:
    base = {"d_sae": 16, "k": 3, "input_scaling": False, "batch_size": 20}
    trainer = build([from_settings({**base, **settings})], ResidentRows(PEERS["x"]))
    assert isinstance(trainer, MechanismsTrainer)
    trainer.model.load_state_dict({name: PEERS[name] for name in trainer.parameters}, strict=False)
    return trainer


def compare(trainer, prefix):
    loss = trainer.outcome(PEERS["x"]).loss
    torch.testing.assert_close(loss.detach(), PEERS[f"{prefix}.loss"], rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(loss, list(trainer.parameters.values()))
    for name, gradient in zip(trainer.parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, PEERS[f"{prefix}.{name}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", ["2023", "2024"])
def test_relu_saes_are_dictionary_learnings(version):
    compare(
        on_the_same_weights(architecture="standard", version=version, l1_coefficient=0.07, l1_warmup_steps=-1), version
    )


def test_the_version_of_2024_has_saelens_loss_and_codes():
    """SAELens encodes x less b_dec as we do."""
    trainer = on_the_same_weights(architecture="standard", version="2024", l1_coefficient=0.07, l1_warmup_steps=-1)
    outcome = trainer.outcome(PEERS["x"])
    torch.testing.assert_close(outcome.code.detach(), PEERS["saelens.code"])
    torch.testing.assert_close(outcome.loss.detach(), PEERS["saelens.loss"])


def test_matryoshka_is_dictionary_learnings_with_one_row_a_batch():
    settings = {"prefix_fractions": "1/8, 1/4, 1/2, 1", **PLAIN}
    compare(on_the_same_weights(architecture="matryoshka", **settings), "matryoshka")


def test_batchtopk_is_dictionary_learnings_and_so_is_what_its_threshold_lets_through():
    trainer = on_the_same_weights(architecture="batchtopk", **PLAIN)
    compare(trainer, "batchtopk")
    assert isinstance(trainer, BatchTopKTrainer)
    with torch.no_grad():
        trainer.after_update(PEERS["x"], trainer.outcome(PEERS["x"]))
        # the peer's first threshold is the first batch's least activation, as ours is before its mean starts
        trainer.model.load_state_dict({name: PEERS[name] for name in trainer.parameters}, strict=False)
        torch.testing.assert_close(trainer.threshold, PEERS["batchtopk.threshold"])
        torch.testing.assert_close(trainer.model.encode(PEERS["x"]), PEERS["batchtopk.encoded"])


def test_nested_batchtopk_is_dictionary_learnings():
    compare(
        on_the_same_weights(architecture="matryoshka-batchtopk", prefix_fractions="1/8, 1/4, 1/2, 1", **PLAIN), "nested"
    )


def test_gated_is_dictionary_learnings():
    trainer = on_the_same_weights(architecture="gated", l1_coefficient=0.07, l1_warmup_steps=-1)
    compare(trainer, "gated")
    torch.testing.assert_close(trainer.model.encode(PEERS["x"]).detach(), PEERS["gated.code"])


def test_jumprelu_is_saelens_thresholds_among_the_gradients():
    trainer = on_the_same_weights(architecture="jumprelu", l0_coefficient=0.07, bandwidth=0.3, l0_warmup_steps=-1)
    compare(trainer, "jumprelu")
    torch.testing.assert_close(trainer.model.encode(PEERS["x"]).detach(), PEERS["jumprelu.code"])


def test_p_annealing_has_dictionary_learnings_loss():
    trainer = on_the_same_weights(architecture="panneal", l1_coefficient=0.07, l1_warmup_steps=-1, p_end=0.5)
    assert isinstance(trainer, PAnnealTrainer)
    trainer.annealing.state[0] = 10  # all changes are done: p is 0.5
    torch.testing.assert_close(trainer.outcome(PEERS["x"]).loss.detach(), PEERS["panneal.loss"], rtol=1e-5, atol=1e-5)


def test_multi_topk_is_sparsifys():
    """Its errors are over the batch's spread, ours a mean per element. Its encoder has no gradient of the wider one."""
    x = PEERS["x"]
    by = (x - x.mean(0)).square().sum() / x.numel()
    trainer = on_the_same_weights(architecture="topk", multi_topk=True, **PLAIN)
    loss = trainer.outcome(x).loss
    wanted = (PEERS["multi.fvu"] + PEERS["multi.wider"] / 8) * by
    torch.testing.assert_close(loss.detach(), wanted, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(loss, [trainer.parameters["W_dec"]])
    torch.testing.assert_close(gradient, PEERS["multi.W_dec"] * by, rtol=1e-4, atol=1e-5)


def test_a_transcoder_with_a_skip_connection_is_sparsifys():
    """Its error is over the spread of the batch, ours a mean per element."""
    x, y = PEERS["x"], PEERS["y"]
    by = (y - y.mean(0)).square().sum() / y.numel()
    settings = {"architecture": "transcoder", "d_sae": 16, "k": 3, "skip": True, "input_scaling": False}
    settings |= {"loss": "mse", "auxk_coefficient": 0.0}
    trainer = build([from_settings(settings)], side_by_side(x, y))
    assert isinstance(trainer, MechanismsTrainer)
    trainer.model.load_state_dict({name: PEERS[name] + (name == "b_enc") for name in trainer.parameters})
    outcome = trainer.outcome(torch.cat([x, y], dim=1))
    torch.testing.assert_close(outcome.reconstruction.detach(), PEERS["transcoder.out"])
    torch.testing.assert_close(trainer.model(x).detach(), PEERS["transcoder.out"])
    torch.testing.assert_close(outcome.loss.detach(), PEERS["transcoder.fvu"] * by, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(outcome.loss, list(trainer.parameters.values()))
    for name, gradient in zip(trainer.parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, PEERS[f"transcoder.{name}"] * by, rtol=1e-4, atol=1e-5)


def test_a_transcoder_that_keeps_all_positive_features_is_saelens():
    model = Transcoder(6, 16, 16, skip=True)
    model.load_state_dict({name: PEERS[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec", "W_skip")})
    with torch.no_grad():
        torch.testing.assert_close(model.encode(PEERS["x"]), PEERS["relu_transcoder.code"])
        torch.testing.assert_close(model(PEERS["x"]), PEERS["relu_transcoder.out"])
