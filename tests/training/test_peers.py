"""Losses, gradients and codes on weights and rows that other packages were given too (`fixtures/make_peers.py`)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sae.training.config import from_settings
from sae.training.group import build
from sae.training.mechanisms import MechanismsTrainer
from sae.training.rows import ResidentRows

PEERS = {name: torch.from_numpy(value) for name, value in np.load(Path(__file__).parent / "fixtures/peers.npz").items()}
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


def on_the_same_weights(**settings) -> MechanismsTrainer:
    base = {"d_sae": 16, "k": 3, "input_scaling": False, "batch_size": 20}
    trainer = build([from_settings({**base, **settings})], ResidentRows(PEERS["x"]))
    assert isinstance(trainer, MechanismsTrainer)
    trainer.model.load_state_dict({name: PEERS[name] for name in NAMES})
    return trainer


def compare(trainer, prefix):
    loss = trainer.outcome(PEERS["x"]).loss
    torch.testing.assert_close(loss.detach(), PEERS[f"{prefix}.loss"])
    gradients = torch.autograd.grad(loss, [trainer.parameters[name] for name in NAMES])
    for name, gradient in zip(NAMES, gradients, strict=True):
        torch.testing.assert_close(gradient, PEERS[f"{prefix}.{name}"], rtol=1e-4, atol=1e-6)


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
    settings = {
        "prefix_fractions": "1/8, 1/4, 1/2, 1",
        "loss": "mse",
        "auxk_coefficient": 0.0,
        "decoder_init": "random",
    }
    compare(on_the_same_weights(architecture="matryoshka", **settings), "matryoshka")
