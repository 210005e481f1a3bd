"""Training against a plain PyTorch loop, resume bit for bit, and the switches of every preset."""

import numpy as np
import pytest
import torch
from torch import nn

from sae.common.errors import Cancelled, UserError
from sae.experiments.presets import PRESETS
from sae.training.config import from_settings
from sae.training.loop import train
from sae.training.rows import ResidentRows, row_order
from sae.training.sparse import SparseTrainer
from sae.training.topk_config import TopKConfig


def train_one(config, x, x_validation=None, *, checkpoint=None, watch=lambda fraction, history: None):
    paths = [checkpoint] if checkpoint else []
    return train(
        [config],
        ResidentRows(x),
        x_validation,
        checkpoints=paths,
        watch=lambda member, fraction, history: watch(fraction, history),
    )[0]


def test_published_recipe_equals_a_plain_loop_with_linear_layers(x):
    """The published code, written with nn.Linear and dense operations: same weights at the start, same at the end."""
    config = from_settings({**PRESETS["published"], "d_sae": 30, "k": 4, "epochs": 2, "batch_size": 64, "seed": 3})
    trainer = SparseTrainer(config, ResidentRows(x))
    encoder, decoder = nn.Linear(12, 30), nn.Linear(30, 12)
    with torch.no_grad():
        encoder.weight.copy_(trainer.weights["W_enc"][0])
        encoder.bias.copy_(trainer.weights["b_enc"][0])
        decoder.weight.copy_(trainer.weights["W_dec"][0].T)
        decoder.bias.copy_(trainer.weights["b_dec"][0])
    assert torch.allclose(decoder.weight.norm(dim=0), torch.ones(30))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for epoch in range(2):
        for batch in x[row_order(3, epoch, len(x))].split(64):
            activations = encoder(batch)
            mask = torch.zeros_like(activations).scatter(1, activations.abs().topk(4, dim=1).indices, 1.0)
            loss = nn.functional.mse_loss(decoder(activations * mask), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    trained = train_one(config, x)
    torch.testing.assert_close(trained.model.W_enc, encoder.weight.T, rtol=0, atol=2e-5)
    torch.testing.assert_close(trained.model.W_dec, decoder.weight.T, rtol=0, atol=2e-5)
    torch.testing.assert_close(trained.model.b_dec, decoder.bias, rtol=0, atol=2e-5)
    # stored so that it encodes x - b_dec, though training did not subtract it
    activations = encoder(x)
    mask = torch.zeros_like(activations).scatter(1, activations.abs().topk(4, dim=1).indices, 1.0)
    torch.testing.assert_close(trained.model(x), decoder(activations * mask), rtol=0, atol=1e-3)


def test_report_recipe_has_no_decoder_bias_and_unit_norm_at_every_step(x):
    config = from_settings({**PRESETS["report"], "d_sae": 30, "k": 4, "epochs": 2, "batch_size": 64})
    trainer = SparseTrainer(config, ResidentRows(x))
    for batch in x.split(64):
        trainer.step(batch)
        torch.testing.assert_close(trainer.weights["W_dec"][0].norm(dim=1), torch.ones(30))
    assert (trainer.finished_model().b_dec == 0).all()


def test_published_decoder_norm_is_left_alone_after_the_start(x):
    config = from_settings({**PRESETS["published"], "d_sae": 30, "k": 4, "epochs": 3, "batch_size": 64})
    assert (train_one(config, x).model.W_dec.norm(dim=1) - 1).abs().max() > 1e-3


def test_corrected_starts_centred_and_keeps_the_decoder_at_unit_norm(x):
    config = from_settings({**PRESETS["corrected"], "d_sae": 30, "k": 4, "epochs": 3, "batch_size": 64})
    trained = train_one(config, x)
    torch.testing.assert_close(trained.model.W_dec.norm(dim=1), torch.ones(30))
    assert (trained.model.encode(x) >= 0).all()


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_run_that_was_stopped_ends_with_the_same_weights(x, tmp_path, preset):
    config = from_settings({**PRESETS[preset], "d_sae": 40, "k": 4, "epochs": 6, "batch_size": 64})
    whole = train_one(config, x, x[:100])
    path = tmp_path / "checkpoint.safetensors"
    stops = [0.13, 0.5, 0.51, 0.97]

    def stop_at(share):
        def watch(fraction, history):
            if fraction >= share:
                raise Cancelled

        return watch

    for share in stops:
        with pytest.raises(Cancelled):
            train_one(config, x, x[:100], checkpoint=path, watch=stop_at(share))
    resumed = train_one(config, x, x[:100], checkpoint=path)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert torch.equal(whole.last_fired, resumed.last_fired)
    columns = ["step", "loss", "dead_share", "validation_ev_total"]
    np.testing.assert_array_equal(whole.history[columns], resumed.history[columns])


def test_a_checkpoint_of_another_configuration_or_a_broken_one_is_not_used(x, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    other = TopKConfig(d_sae=40, k=4, epochs=4, batch_size=64, lr=1e-2)

    def stop(fraction, history):
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        train_one(other, x, checkpoint=path, watch=stop)
    config = TopKConfig(d_sae=40, k=4, epochs=4, batch_size=64)
    fresh = train_one(config, x).model.W_enc
    assert torch.equal(train_one(config, x, checkpoint=path).model.W_enc, fresh)
    path.write_bytes(b"not a checkpoint")
    assert torch.equal(train_one(config, x, checkpoint=path).model.W_enc, fresh)


def test_seeds_differ_and_repeat(x):
    first, second, again = (
        train_one(TopKConfig(d_sae=20, k=3, epochs=1, batch_size=64, seed=seed), x).model.W_enc for seed in (0, 1, 0)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_the_rate_decays_to_nothing():
    config = TopKConfig(d_sae=8, k=2, epochs=10, batch_size=10, lr_schedule="linear", lr=1e-2)
    trainer = SparseTrainer(config, ResidentRows(torch.randn(100, 3, generator=torch.Generator().manual_seed(0))))
    rates = [trainer.learning_rate(step) for step in range(trainer.total_steps)]
    np.testing.assert_allclose(rates, np.linspace(1e-2, 0, 101)[:-1], atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 30, "d_sae": 20}, "k 30 is larger than d_sae 20"),
        ({"epochs": 0}, "epochs 0 must be at least 1"),
        ({"lr": "fast"}, "lr can't be 'fast'"),
        ({"k": 2.5}, "k can't be 2.5"),
        ({"momentum": 0.9}, "'momentum' is not a setting"),
        ({"selection": "best"}, "take one of signed, magnitude"),
        ({"decoder_bias": "maybe"}, "decoder_bias can't be 'maybe'"),
    ],
)
def test_settings_that_can_not_be_say_which_and_why(settings, said):
    with pytest.raises(UserError, match=said):
        from_settings(settings)


def test_settings_may_come_as_text():
    config = from_settings({"k": "7", "lr": "2e-3", "project_gradient": "false", "epochs": "3"})
    assert (config.k, config.lr, config.project_gradient, config.epochs) == (7, 2e-3, False, 3)


@pytest.mark.parametrize("subtract", [True, False])
def test_input_scaling_folds_back_exactly(x, subtract):
    """The stored model on raw rows against the trained one on the rows that training saw, computed by hand."""
    config = TopKConfig(d_sae=30, k=4, epochs=3, batch_size=64, subtract_b_dec=subtract)
    trainer = SparseTrainer(config, ResidentRows(x))
    for batch in x.split(64):
        trainer.step(batch)
    mean, scale = x.double().mean(0), 1 / (x - x.mean(0)).double().square().sum(1).mean().sqrt()
    seen = (x.double() - mean) * scale
    W_enc, b_enc, W_dec, b_dec = (trainer.weights[name][0].double() for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    W_enc = W_enc.T
    pre = (seen - b_dec if subtract else seen) @ W_enc + b_enc
    values, indices = pre.topk(4)
    f = torch.zeros_like(pre).scatter(1, indices, values.relu())
    expected = (f @ W_dec + b_dec) / scale + mean
    stored = trainer.finished_model()
    torch.testing.assert_close(stored(x).double(), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(stored.encode(x).double(), f / scale, rtol=0, atol=1e-4)


def test_the_data_start_reconstructs_like_pca_before_any_step(x):
    from sae.training.start import data_directions, principal_directions

    config = TopKConfig(d_sae=30, k=4)
    directions = data_directions(config, ResidentRows(x), None, torch.Generator().manual_seed(0))
    centred = (x - x.mean(0)).double()
    principal = principal_directions(ResidentRows(x))
    _, _, right = np.linalg.svd(centred.numpy(), full_matrices=False)
    np.testing.assert_allclose(np.abs((principal.numpy() * right.T).sum(0)), 1, atol=1e-6)
    torch.testing.assert_close(directions[:4], -directions[4:8])
    # the others are what rows leave over: no row of them has more than its K strongest components taken away
    left = directions[8:].double()
    assert (left @ principal[:, :4]).abs().max() < 1e-5  # four pairs and K = 4: nothing of them is left
    assert (
        ((left[:, None] - (centred - centred @ principal[:, :4] @ principal[:, :4].T)[None]).abs().amax(2) < 1e-5)
        .any(1)
        .all()
    )


def test_more_features_than_rows_still_start(x):
    trained = train_one(TopKConfig(d_sae=64, k=2, epochs=1, batch_size=8), x[:20])
    assert torch.isfinite(trained.model.W_dec).all()
