"""Sparse binary codes: resume, the finished model, matched gradients, and what training them does."""

import pytest
import torch

from sae.common.errors import Cancelled, UserError
from sae.objectives.cosine_alignment import reconstruction_loss
from sae.training.binary import BinaryTrainer
from sae.training.config import from_settings
from sae.training.loop import train
from sae.training.rows import ResidentRows


def config(**settings):
    return from_settings({"architecture": "binary", "d_sae": 60, "k": 6, "epochs": 3, "batch_size": 64, **settings})


@pytest.mark.parametrize("rounding", ["pass_through", "gumbel", "annealed"])
def test_a_run_that_was_stopped_ends_with_the_same_weights(x, device, tmp_path, rounding):
    wanted, rows = config(rounding=rounding), ResidentRows(x.to(device))
    whole = train([wanted], rows)[0]
    path = tmp_path / "checkpoint.safetensors"
    for share in (0.2, 0.6):

        def stop(member, fraction, history, share=share):
            if fraction >= share:
                raise Cancelled

        with pytest.raises(Cancelled):
            train([wanted], rows, checkpoints=[path], watch=stop)
    resumed = train([wanted], rows, checkpoints=[path])[0]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.summary == resumed.summary
    columns = ["objective", "reconstruction_loss", "sparsity_alignment", "bit_flips", "gradient_norm"]
    assert whole.history[columns].equals(resumed.history[columns])


def test_the_finished_model_gives_the_codes_and_cosines_of_training(x, device):
    trainer = BinaryTrainer(config(), ResidentRows(x.to(device)))
    for batch in x.split(64):
        trainer.step(batch.to(device))
    stored, rows = trainer.finished_model(), x.to(device)
    seen = rows / rows.norm(dim=1).square().mean().sqrt()
    assert torch.equal(stored.encode(rows), trainer.model.encode(seen).detach())
    found = reconstruction_loss("cosine", rows, stored(rows).detach())
    expected = reconstruction_loss("cosine", seen, trainer.model(seen).detach())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    # its scale is the least-squares one: any other has a larger error
    guess = stored(rows).detach()
    errors = [float((rows - factor * guess).square().sum()) for factor in (0.95, 1.0, 1.05)]
    assert errors[1] < min(errors[0], errors[2])


def test_losses_that_replace_a_cosine_start_with_its_gradient(x, device):
    """The weighted loss's gradient against the cosine's, by autograd from the same start."""
    rows = ResidentRows(x.to(device))
    trainer = BinaryTrainer(config(reconstruction_objective="mse", sparsity_objective="l1"), rows)
    cosine = BinaryTrainer(config(), rows)
    assert cosine.weights == {"reconstruction": 1.0, "sparsity": 1.0}
    sample = cosine._first

    def norm(kind):
        guess = cosine.outcome(sample).reconstruction
        gradients = torch.autograd.grad(reconstruction_loss(kind, sample, guess), list(cosine.model.parameters()))
        return float(torch.cat([g.flatten() for g in gradients]).norm())

    assert trainer.weights["reconstruction"] == pytest.approx(norm("cosine") / norm("mse"), rel=1e-3)
    assert trainer.weights["sparsity"] != 1.0


def test_hard_topk_moves_nothing_outside_of_the_k_strongest(x, device):
    """One step from a start in which a feature is never among the K strongest leaves its encoder as it was."""
    trainer = BinaryTrainer(config(rounding="topk", clip_norm=0.0), ResidentRows(x.to(device)))
    with torch.no_grad():
        trainer.model.b_enc[5] = -1e4
    before = trainer.model.W_enc[:, 5].detach().clone()
    trainer.step(x[:64].to(device))
    assert torch.equal(trainer.model.W_enc[:, 5].detach(), before)
    soft = BinaryTrainer(config(), ResidentRows(x.to(device)))
    with torch.no_grad():
        soft.model.b_enc[5] = -2.0
    before = soft.model.W_enc[:, 5].detach().clone()
    soft.step(x[:64].to(device))
    assert not torch.equal(soft.model.W_enc[:, 5].detach(), before)


def test_more_alpha_means_fewer_bits(x, device):
    """On planted rows the count falls with alpha, and hard TopK has exactly K bits."""
    counts = []
    for settings in ({"alpha": 0.0}, {"alpha": 0.3}, {"alpha": 3.0}):
        model = train([config(epochs=30, lr=2e-3, **settings)], ResidentRows(x.to(device)))[0].model
        counts.append(float((model.encode(x.to(device)) != 0).sum(1).float().mean()))
    assert counts[0] > counts[1] > counts[2]
    hard = train([config(rounding="topk")], ResidentRows(x.to(device)))[0].model
    assert ((hard.encode(x.to(device)) != 0).sum(1) == 6).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alpha": -1}, "must not be below 0"),
        ({"rounding": "none"}, "take one of pass_through"),
        ({"temperature": 0}, "temperature 0.0 must be above 0"),
        ({"selection": "signed"}, "'selection' is not a setting"),
        ({"architecture": "nonsense"}, "can't be trained: take one of topk, binary"),
    ],
)
def test_settings_that_can_not_be_say_which_and_why(settings, said):
    with pytest.raises(UserError, match=said):
        config(**settings)
