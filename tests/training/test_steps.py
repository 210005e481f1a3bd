"""Hand-written steps, of the CPU and of the GPU, against autograd and PyTorch's Adam."""

import pytest
import torch

from sae.experiments.presets import PRESETS
from sae.training.batched import BatchedTrainer
from sae.training.config import from_settings
from sae.training.rows import ResidentRows
from sae.training.sparse import SparseTrainer
from tests.training.reference import Reference


def sparse(config, x, device):
    return SparseTrainer(config, ResidentRows(x))


def batched(config, x, device):
    return BatchedTrainer([config], ResidentRows(x.to(device)))


def reference(trainer, config):
    start = {name: value[0].cpu() for name, value in trainer.weights.items()}
    start["W_enc"] = start["W_enc"].T
    return Reference(config, start, trainer.variance, trainer.auxk_window, trainer.auxk_k, trainer.total_steps)


CASES = {
    **PRESETS,
    "signed, norm left alone": {"decoder_norm": "initial"},
    "norm without projection": {"project_gradient": False},
    "encoder sees x": {"subtract_b_dec": False},
    "magnitude, centred": {"selection": "magnitude"},
    "mse": {"loss": "mse"},
    "auxk from the second step": {"auxk_window": 60, "auxk_k": 3},
    "auxk of more than are dead": {"auxk_window": 60, "auxk_k": 500, "encoder_init": "linear"},
}


@pytest.mark.parametrize(("make", "threads"), [(sparse, 1), (sparse, 2), (batched, 1)])
@pytest.mark.parametrize("case", list(CASES))
def test_steps_equal_autograd(x, device, make, case, threads):
    """Weights and losses over twelve steps, the last batch of an epoch (60 rows of 64) among them."""
    config = from_settings({**CASES[case], "d_sae": 30, "k": 4, "epochs": 2, "batch_size": 64})
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trainer = make(config, x, device)
        plain = reference(trainer, config)
        for batch in x[torch.randperm(700, generator=torch.Generator().manual_seed(1))].split(64):
            loss = trainer.step(batch.to(trainer.device))
            expected = plain.step(trainer.scaled(batch.to(trainer.device)).cpu()) / trainer.scale**2
            torch.testing.assert_close(float(loss[0]), float(expected), rtol=1e-5, atol=1e-7)
    finally:
        torch.set_num_threads(before)
    for name, value in trainer.weights.items():
        wanted = plain.weights[name].detach()
        found = value[0].cpu()
        torch.testing.assert_close(found.T if name == "W_enc" else found, wanted, rtol=0, atol=1e-5, msg=name)
    assert torch.equal(trainer.last_fired[0].cpu(), plain.last_fired)


@pytest.mark.parametrize("make", [sparse, batched])
@pytest.mark.parametrize("selection", ["signed", "magnitude"])
def test_gradients_equal_autograd(x, device, make, selection):
    """One step of Adam from zero moments leaves (1 - beta1) x gradient in the first moment."""
    config = from_settings(
        {"d_sae": 30, "k": 4, "selection": selection, "auxk_window": 1, "auxk_k": 2, "project_gradient": False}
    )
    trainer = make(config, x, device)
    trainer.rows_seen = 5  # so that every feature is past AuxK's window
    if make is batched:
        trainer._seen.fill_(5)
    plain = reference(trainer, config)
    plain.rows_seen = 5
    batch = x[:64].to(trainer.device)
    loss, _, _ = plain.losses(trainer.scaled(batch).cpu())
    names = list(plain.weights)
    wanted = dict(zip(names, torch.autograd.grad(loss, [plain.weights[name] for name in names]), strict=True))
    trainer.step(batch)
    for name in names:
        found = trainer.first[name][0].cpu() / 0.1
        torch.testing.assert_close(found.T if name == "W_enc" else found, wanted[name], rtol=1e-4, atol=1e-5)


def test_members_of_a_group_equal_themselves_alone(x, device):
    """Three K's in one batched product, over an epoch: each as if it were trained by itself."""
    configs = [
        from_settings({"d_sae": 30, "k": k, "epochs": 3, "batch_size": 64, "auxk_window": 150}) for k in (2, 5, 9)
    ]
    rows = ResidentRows(x.to(device))
    together = BatchedTrainer(configs, rows)
    alone = [BatchedTrainer([config], rows) for config in configs]
    for batch in rows.batches(0, 0, 64):
        losses = together.step(batch)
        for member, trainer in enumerate(alone):
            torch.testing.assert_close(losses[member], trainer.step(batch)[0], rtol=1e-5, atol=1e-6)
    for member, trainer in enumerate(alone):
        for name in trainer.weights:
            torch.testing.assert_close(together.weights[name][member], trainer.weights[name][0], rtol=0, atol=1e-5)


def test_a_feature_that_never_fired_is_not_touched(x):
    config = from_settings({"d_sae": 30, "k": 4, "auxk_coefficient": 0})
    trainer = SparseTrainer(config, ResidentRows(x))
    trainer.weights["b_enc"][0, 7] = -1e6
    before = {name: value[0, 7].clone() for name, value in trainer.weights.items() if name != "b_dec"}
    for batch in x.split(100):
        trainer.step(batch)
    for name, value in before.items():
        assert torch.equal(trainer.weights[name][0, 7], value)
    assert trainer.last_fired[0, 7] == 0 and not trainer.touched[0, 7]


@pytest.mark.parametrize("make", [sparse, batched])
def test_last_fired_counts_rows_and_not_slots_with_value_zero(x, device, make):
    config = from_settings({"d_sae": 20, "k": 18, "epochs": 1, "batch_size": 100, "auxk_coefficient": 0})
    trainer = make(config, x, device)
    trainer.weights["b_enc"][0, 7] = -1e6  # enters the top 18 of 20 only as a slot with value 0, if at all
    trainer.step(x[:100].to(trainer.device))
    assert trainer.last_fired[0, 7] == 0
    assert trainer.last_fired.max() == 100


@pytest.mark.parametrize("make", [sparse, batched])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_coarser_operands_come_near(x, device, make, precision):
    """The loss over an epoch within 3 % of exact float32: bfloat16 has 8 bits."""
    losses = {}
    for chosen in ("float32", precision):
        config = from_settings({"d_sae": 30, "k": 4, "epochs": 2, "batch_size": 64, "precision": chosen})
        trainer = make(config, x, device)
        losses[chosen] = [float(trainer.step(batch.to(trainer.device))[0]) for batch in x.split(64)]
    torch.testing.assert_close(losses[precision], losses["float32"], rtol=0.03, atol=0)
