"""BatchTopK, JumpReLU, Gated and p-annealed SAEs: losses in NumPy, gradients by differences, thresholds, resume."""

import numpy as np
import pytest
import torch

from sae.common.errors import UserError
from sae.models.batchtopk import BatchTopK
from sae.objectives.p_annealing import EPSILON, p_norm
from sae.training.batchtopk import BatchTopKTrainer
from sae.training.config import from_settings
from sae.training.group import is_plain_topk
from sae.training.kernels.sparse_products import is_sparse
from sae.training.loop import train
from sae.training.panneal import PAnnealTrainer
from sae.training.rows import ResidentRows
from tests.training.test_mechanisms import stopped_and_resumed
from tests.training.test_standard import (
    PLACES,
    gradients_by_differences,
    loss_and_gradients,
    trainer,
    weights,
)

NEW = ("batchtopk", "matryoshka-batchtopk", "jumprelu", "gated", "panneal")
NESTED = {"prefix_fractions": "1/4, 1/2, 1"}


def agree(found, x, plain, names=("W_enc", "b_enc", "W_dec", "b_dec"), places=PLACES):
    """The trainer's loss and gradients on rows are those of a function of float64 weights."""
    value, gradients = loss_and_gradients(found, x)
    w = weights(found)
    assert value == pytest.approx(plain(w), rel=1e-5)
    for (name, place), slope in gradients_by_differences(plain, w, names, places).items():
        assert float(gradients[name][place]) == pytest.approx(slope, rel=2e-3, abs=2e-6), (name, place)
    return gradients


def pre_activations(w, x):
    return (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]


def largest_of_the_batch(a, n):
    f = np.maximum(a, 0)
    return np.where(f >= np.sort(f, axis=None)[-n], f, 0)


@pytest.mark.parametrize(
    ("architecture", "prefixes", "settings"),
    [
        ("batchtopk", [24], {}),
        ("batchtopk", [24], {"multi_topk": True}),
        ("matryoshka-batchtopk", [6, 12, 24], NESTED),
    ],
)
def test_the_loss_and_gradients_of_batchtopk(x, architecture, prefixes, settings):
    found = trainer(x, architecture, **settings)
    rows = found.scaled(x[:50])
    given = rows.double().numpy()

    def error(w, n):
        f = largest_of_the_batch(pre_activations(w, given), n)
        return np.mean([((given - f[:, :m] @ w["W_dec"][:m] - w["b_dec"]) ** 2).mean() for m in prefixes])

    def plain(w):
        wider = error(w, 50 * 16) / 8 if settings.get("multi_topk") else 0
        return (error(w, 50 * 4) + wider) / found.variance

    agree(found, rows, plain)


@pytest.mark.parametrize(("selection", "k"), [("signed", 3), ("magnitude", 3), ("signed", 10)])
def test_multi_topk_adds_an_eighth_of_the_error_with_four_times_k(x, selection, k):
    # random directions: a principal one and its opposite would tie in size
    settings = {"architecture": "topk", "multi_topk": True, "selection": selection, "k": k, "decoder_init": "random"}
    assert not is_plain_topk(from_settings(settings))
    found = trainer(x, **settings)
    rows = found.scaled(x[:50])
    given = rows.double().numpy()

    def error(w, n):
        a = pre_activations(w, given)
        score = a if selection == "signed" else np.abs(a)
        f = np.where(score >= np.sort(score, axis=1)[:, -n][:, None], a, 0)
        f = np.maximum(f, 0) if selection == "signed" else f
        return ((given - f @ w["W_dec"] - w["b_dec"]) ** 2).mean()

    agree(found, rows, lambda w: (error(w, k) + error(w, min(4 * k, 24)) / 8) / found.variance)


def test_the_loss_and_gradients_of_gated(x):
    found = trainer(x, "gated", l1_coefficient=0.3, l1_warmup_steps=-1)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for name in ("b_enc", "r_mag", "b_mag"):
            found.parameters[name].copy_(0.2 * torch.randn(24, generator=generator) + 0.01)
    rows = found.scaled(x[:50])
    given, still = rows.double().numpy(), weights(found)

    def plain(w):
        projected = (given - w["b_dec"]) @ w["W_enc"]
        gates = projected + w["b_enc"]
        f = (gates > 0) * np.maximum(np.exp(w["r_mag"]) * projected + w["b_mag"], 0)
        error = ((given - f @ w["W_dec"] - w["b_dec"]) ** 2).sum(1)
        open_ = np.maximum(gates, 0)
        by_gates = ((given - open_ @ still["W_dec"] - still["b_dec"]) ** 2).sum(1)
        return (error + 0.3 * open_.sum(1) + by_gates).mean()

    places = {**PLACES, "r_mag": [(0,), (11,)], "b_mag": [(0,), (17,)]}
    agree(found, rows, plain, tuple(places), places)


@pytest.mark.parametrize(("threshold", "sparse"), [(0.05, False), (0.6, True)])
def test_the_loss_and_gradients_of_jumprelu(x, threshold, sparse):
    bandwidth, coefficient = 0.2, 0.07
    settings = {"bandwidth": bandwidth, "initial_threshold": threshold, "l0_coefficient": coefficient}
    found = trainer(x, "jumprelu", l0_warmup_steps=-1, **settings)
    with torch.no_grad():
        found.model.threshold.add_(0.05 * torch.rand(24, generator=torch.Generator().manual_seed(1)))
    rows = found.scaled(x[:50])
    given = rows.double().numpy()
    assert is_sparse(found.forward(rows).code.detach()) is sparse

    def plain(w):
        a = pre_activations(w, given)
        on = a > w["threshold"]
        return (((given - (a * on) @ w["W_dec"] - w["b_dec"]) ** 2).sum(1) + coefficient * on.sum(1)).mean()

    gradients = agree(found, rows, plain)
    w = weights(found)
    a, theta = pre_activations(w, given), w["threshold"]
    by_code = 2 * ((a * (a > theta)) @ w["W_dec"] + w["b_dec"] - given) @ w["W_dec"].T / 50
    near = np.abs((a - theta) / bandwidth) < 0.5
    assert 20 < (near & (a < theta)).sum() < (near.sum() if not sparse else near.size)
    slope = -(near * (theta * by_code + coefficient / 50)).sum(0) / bandwidth
    np.testing.assert_allclose(gradients["threshold"].numpy(), slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("version", ["2023", "2024"])
def test_the_loss_and_gradients_of_p_annealing(x, version):
    found = trainer(x, "panneal", version=version, l1_coefficient=0.3, l1_warmup_steps=-1, p_end=0.4)
    assert isinstance(found, PAnnealTrainer)
    found.annealing.state[:] = torch.tensor([5.0, 2.0])  # half of the way, the coefficient doubled
    assert found.annealing.p == pytest.approx(0.7)
    rows = found.scaled(x[:50])
    given = rows.double().numpy()

    def plain(w):
        f = np.maximum(pre_activations(w, given), 0)
        sizes = f * (np.linalg.norm(w["W_dec"], axis=1) if version == "2024" else 1)
        # below epsilon a line that meets the power
        penalty = np.where(sizes > EPSILON, sizes ** (0.7), sizes * EPSILON**-0.3)
        return (((given - f @ w["W_dec"] - w["b_dec"]) ** 2).sum(1) + 0.6 * penalty.sum(1)).mean()

    agree(found, rows, plain)


def test_p_falls_in_ten_steps_and_the_coefficient_keeps_the_pressure(x):
    settings = {"l1_coefficient": 0.1, "p_end": 0.5, "epochs": 10}  # 140 steps
    found = trainer(x, "panneal", anneal_start_steps=40, **settings)
    assert isinstance(found, PAnnealTrainer)
    rows, codes, ps, factors = ResidentRows(x), [], [], []
    for epoch in range(10):
        for batch in rows.batches(0, epoch, 50):
            ps.append(found.annealing.p)
            factors.append(found.annealing.factor)
            codes.append(found.forward(found.scaled(batch)).code.detach())
            found.step(batch)
    assert ps[:40] == [1.0] * 40
    assert [ps[40 + 10 * i] for i in range(10)] == pytest.approx([1 - 0.05 * (i + 1) for i in range(10)])
    wanted = 1.0
    for i in range(10):
        before, after = 1 - 0.05 * i, 1 - 0.05 * (i + 1)
        last = codes[30 + 10 * i : 40 + 10 * i]
        wanted *= sum(float(p_norm(c, before)) for c in last) / sum(float(p_norm(c, after)) for c in last)
        assert factors[40 + 10 * i] == pytest.approx(wanted, rel=1e-4)
    assert found.finished_model().architecture == "standard"


def test_the_threshold_is_a_running_mean_of_the_least_activations(x):
    found = trainer(x, "batchtopk", threshold_start_steps=5, threshold_window_steps=4)
    assert isinstance(found, BatchTopKTrainer)
    wanted = 0.0
    for step, batch in enumerate(ResidentRows(x).batches(0, 0, 50)):
        code = found.forward(found.scaled(batch)).code.detach()
        assert int((code > 0).sum()) == 50 * 4
        least = float(code[code > 0].min())
        wanted = least if step < 5 else 0.75 * wanted + 0.25 * least
        found.step(batch)
        assert float(found.threshold) == pytest.approx(wanted, rel=1e-5)
    stored = found.finished_model()
    assert isinstance(stored, BatchTopK)
    assert float(stored.threshold) == pytest.approx(wanted / found.scale, rel=1e-5)


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka-batchtopk"])
def test_a_row_is_encoded_alike_in_any_company_and_k_are_active_on_average(x, architecture):
    settings = NESTED if architecture != "batchtopk" else {}
    wanted = from_settings(
        {"architecture": architecture, "d_sae": 24, "k": 4, "batch_size": 50, "lr": 3e-3, **settings}
    )
    model = train([wanted], ResidentRows(x))[0].model
    with torch.no_grad():
        together = model.encode(x)
        alone = torch.cat([model.encode(row[None]) for row in x])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    assert float((together > 0).sum(1).float().mean()) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("architecture", NEW)
def test_the_stored_model_gives_for_raw_rows_what_the_one_in_training_gives_for_its_own(x, architecture):
    more = {"inhibition": "permuted", "inhibition_radius": 3} if architecture in ("jumprelu", "batchtopk") else {}
    found = trainer(x, architecture, epochs=4, **more)
    for batch in x[:500].split(50):
        found.step(batch)
    stored, seen = found.finished_model(), found.scaled(x)
    with torch.no_grad():
        torch.testing.assert_close(stored(x), found.model(seen) / found.scale + found.shift, rtol=1e-3, atol=1e-3)
        code = found.model.encode(seen)
        torch.testing.assert_close(stored.encode(x) * found.scale, code, rtol=1e-3, atol=1e-4)
        assert torch.equal(stored.encode(x) != 0, code != 0)
    assert (code != 0).any()


@pytest.mark.parametrize("architecture", NEW)
def test_a_run_that_was_stopped_is_the_undisturbed_one(x, device, tmp_path, architecture):
    settings = {
        "orthogonality": "hinge",
        "inhibition": "adaptive",
        "inhibition_radius": 5,
        "neighbourhood_window": 5,
        "reallocation": True,
        "reallocation_window": 7,
        "reallocation_threshold": 0.05,
    }
    if architecture.endswith("batchtopk"):
        settings |= {"auxk_window": 64, "multi_topk": True}
    else:
        settings |= {"calibrated": True, "resampling": True, "lr": 3e-3}
    base = {"architecture": architecture, "d_sae": 60, "k": 6, "epochs": 4, "batch_size": 64}
    if architecture == "matryoshka-batchtopk":
        base |= NESTED
    wanted, rows = from_settings({**base, **settings}), ResidentRows(x.to(device))
    whole = train([wanted], rows)[0]
    resumed = stopped_and_resumed(wanted, rows, tmp_path / "checkpoint.safetensors", shares=(0.2, 0.7))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.summary == resumed.summary
    assert whole.history.drop(columns="seconds").equals(resumed.history.drop(columns="seconds"))
    assert whole.summary["orthogonality_steps"] > 0 and whole.summary["reallocation_checks"] > 0


@pytest.mark.parametrize(
    ("architecture", "rest"), [("standard", ()), ("jumprelu", ("threshold",)), ("gated", ("b_mag",))]
)
def test_dead_features_are_resampled_in_the_direction_of_rows(x, architecture, rest):
    found = trainer(x, architecture, resampling=True, resampling_steps=6, epochs=5)
    starts = {name: float(found.parameters[name].detach()[0]) for name in rest}
    with torch.no_grad():
        found.model.b_enc[:3] = -1e3
        for name in rest:
            found.parameters[name][:3] = 7.0
    batches = list(x[:300].split(50))
    for batch in batches[:5]:
        found.step(batch)
    alive = [number for number in range(24) if float(found.mechanisms["resampling"].held()["idle"][number]) < 2]
    found.step(batches[5])
    w, moments = found.features.weights, found.features.moments
    norm = float(w["W_enc"][:, alive].norm(dim=0).mean())
    seen = found.scaled(x) - found.model.b_dec.detach()
    for number in range(3):
        cosines = torch.cosine_similarity(seen, w["W_dec"][number][None])
        assert float(cosines.max()) == pytest.approx(1, abs=1e-5)
        assert float(w["W_dec"][number].norm()) == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(w["W_enc"][:, number], 0.2 * norm * w["W_dec"][number], rtol=2e-2, atol=1e-4)
        assert float(w["b_enc"][number]) == 0
        assert all(float(w[name][number]) == pytest.approx(starts[name]) for name in rest)
        for name, pair in moments.items():
            assert all(not m[(slice(None), number) if name == "W_enc" else number].any() for m in pair), name
    assert found.summary(0)["resampled"] >= 3 and found.summary(0)["resampling_times"] == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"architecture": "batchtopk", "selection": "magnitude"}, "take one of signed"),
        ({"architecture": "batchtopk", "threshold_start_steps": -1}, "must be at least 0"),
        ({"architecture": "jumprelu", "bandwidth": 0}, "bandwidth 0.0 must be above 0"),
        ({"architecture": "jumprelu", "calibrated": True, "l0_coefficient": 0}, "set l0_coefficient above 0"),
        ({"architecture": "gated", "l1_warmup_steps": -2}, "or -1 for none"),
        ({"architecture": "panneal", "p_end": 0}, "p_end 0.0 must be above 0"),
        ({"architecture": "standard", "resampling_steps": -3}, "resampling_steps -3 must be at least 0"),
    ],
)
def test_settings_that_make_no_sense(settings, said):
    with pytest.raises(UserError, match=said):
        from_settings(settings)
