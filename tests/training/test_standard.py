"""ReLU SAEs and Matryoshka TopK: the losses as formulas in NumPy, gradients by differences, decoders, stored models."""

import numpy as np
import pytest
import torch

from sae.training.config import from_settings
from sae.training.group import build
from sae.training.mechanisms import MechanismsTrainer
from sae.training.rows import ResidentRows


def trainer(x, architecture, **settings):
    base = {"architecture": architecture, "d_sae": 24, "k": 4, "epochs": 2, "batch_size": 50}
    found = build([from_settings({**base, **settings})], ResidentRows(x))
    assert isinstance(found, MechanismsTrainer)
    return found


def weights(trainer):
    return {name: value.detach().double().numpy() for name, value in trainer.model.state_dict().items()}


def standard_loss(w, x, coefficient, version, loss):
    f = np.maximum((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 0)
    error = ((x - f @ w["W_dec"] - w["b_dec"]) ** 2).sum(1)
    by = np.linalg.norm(w["W_dec"], axis=1) if version == "2024" else np.ones(f.shape[1])
    return (error if loss == "squared" else np.sqrt(error)).mean() + coefficient * (f * by).sum(1).mean()


def matryoshka_loss(w, x, k, prefixes, variance):
    a = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    f = np.where(a >= np.sort(a, axis=1)[:, -k][:, None], np.maximum(a, 0), 0)
    losses = [((x - f[:, :m] @ w["W_dec"][:m] - w["b_dec"]) ** 2).mean() for m in prefixes]
    return np.mean(losses) / variance


def gradients_by_differences(function, w, names, at, step=1e-6):
    """Of a function of weights, at some places of each."""
    found = {}
    for name in names:
        for place in at[name]:
            up, down = ({**w, name: w[name].copy()} for _ in range(2))
            up[name][place] += step
            down[name][place] -= step
            found[name, place] = (function(up) - function(down)) / (2 * step)
    return found


PLACES = {"W_enc": [(0, 0), (5, 7), (11, 23)], "b_enc": [(3,), (20,)], "W_dec": [(0, 0), (7, 5)], "b_dec": [(0,), (9,)]}


def loss_and_gradients(trainer, x):
    outcome = trainer.outcome(x)
    names = list(trainer.parameters)
    gradients = torch.autograd.grad(outcome.loss, [trainer.parameters[name] for name in names])
    return float(outcome.loss.detach()), dict(zip(names, gradients, strict=True))


@pytest.mark.parametrize("version", ["2023", "2024"])
@pytest.mark.parametrize("loss", ["squared", "norm"])
def test_the_loss_and_gradients_of_relu_saes(x, version, loss):
    found = trainer(x, "standard", version=version, loss=loss, l1_coefficient=0.3, l1_warmup_steps=-1)
    rows = found.scaled(x[:50])
    value, gradients = loss_and_gradients(found, rows)
    w, given = weights(found), rows.double().numpy()
    assert value == pytest.approx(standard_loss(w, given, 0.3, version, loss), rel=1e-5)
    plain = gradients_by_differences(lambda w: standard_loss(w, given, 0.3, version, loss), w, PLACES, PLACES)
    for (name, place), slope in plain.items():
        assert float(gradients[name][place]) == pytest.approx(slope, rel=2e-3, abs=2e-6), (name, place)


def test_the_loss_and_gradients_of_matryoshka(x):
    found = trainer(x, "matryoshka", prefix_fractions="1/4, 1/2, 1")
    assert found.model.prefixes == [6, 12, 24]
    rows = found.scaled(x[:50])
    value, gradients = loss_and_gradients(found, rows)
    w, given = weights(found), rows.double().numpy()

    def plain(w):
        return matryoshka_loss(w, given, 4, [6, 12, 24], found.variance)

    assert value == pytest.approx(plain(w), rel=1e-5)
    for (name, place), slope in gradients_by_differences(plain, w, PLACES, PLACES).items():
        assert float(gradients[name][place]) == pytest.approx(slope, rel=2e-3, abs=2e-6), (name, place)


def test_decoder_rows_stay_at_unit_norm_and_move_across_it_in_the_version_of_2023_alone(x):
    for version in ("2023", "2024"):
        found = trainer(x, "standard", version=version, lr=1e-2)
        for batch in x[:150].split(50):
            before = found.model.W_dec.detach().clone()
            found.step(batch)
            if version == "2023":
                slope = found.model.W_dec.grad
                assert float((slope * before).sum(1).abs().max()) < 1e-5 * float(slope.norm(dim=1).max())
        norms = found.model.W_dec.detach().norm(dim=1)
        assert bool(((norms - 1).abs() < 1e-5).all()) == (version == "2023")


def test_warm_ups(x):
    found = trainer(x, "standard", l1_coefficient=0.5, l1_warmup_steps=4, lr_warmup_steps=2, lr_schedule="constant")
    rates, coefficients = [], []
    for batch in x[:250].split(50):
        rates.append(found.learning_rate(found.step_number) / found.config.lr)
        coefficients.append(found.l1_coefficient)
        found.step(batch)
    assert rates == [0.5, 1, 1, 1, 1]
    assert coefficients == [0.125, 0.25, 0.375, 0.5, 0.5]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("standard", {}),
        ("standard", {"version": "2024", "inhibition": "permuted", "inhibition_radius": 3}),
        ("matryoshka", {}),
        ("matryoshka", {"subtract_b_dec": False, "inhibition": "fixed", "inhibition_radius": 3}),
        ("topk", {"inhibition": "adaptive", "inhibition_radius": 3, "neighbourhood_window": 2}),
    ],
)
def test_the_stored_model_gives_for_raw_rows_what_training_gives_for_its_own(x, architecture, settings):
    found = trainer(x, architecture, **settings)
    for batch in x[:250].split(50):
        found.step(batch)
    stored, seen = found.finished_model(), found.scaled(x)
    with torch.no_grad():
        _, guess, code = found.forward(seen)
        torch.testing.assert_close(stored(x), guess / found.scale + found.shift, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(stored.encode(x) * found.scale, code, rtol=1e-3, atol=1e-4)
    assert stored.architecture == architecture
