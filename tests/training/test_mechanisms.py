"""Mechanisms in training: planted truths, the same run after a stop, counts of what they did, lengths."""

import pytest
import torch

from sae.common.errors import Cancelled, UserError
from sae.objectives.orthogonality import Orthogonality
from sae.training.config import from_settings
from sae.training.group import build
from sae.training.lengths import check_lengths
from sae.training.loop import train
from sae.training.mechanisms import MechanismsTrainer
from sae.training.rows import ResidentRows
from sae.training.sparse import SparseTrainer
from sae.training.topk_autograd import TopKAutogradTrainer

ARCHITECTURES = ("topk", "standard", "matryoshka")
EVERYTHING = {
    "orthogonality": "hinge",
    "pair_selection": "threshold",
    "tau_rule": "momentum",
    "ortsae_weight": 0.25,
    "ortsae_chunk": 25,
    "prune": True,
    "importance_protection": True,
    "prune_threshold": 0.5,
    "l1_coefficient": 0.02,
    "adaptive_l1": True,
    "adaptive_l1_target": 0.05,
    "inhibition": "adaptive",
    "inhibition_radius": 5,
    "reallocation": True,
    "reallocation_threshold": 0.02,
}


def config(**settings):
    base = {"d_sae": 60, "k": 6, "epochs": 3, "batch_size": 64, "prefix_fractions": "1/4, 1/2, 1"}
    if settings.get("architecture") != "matryoshka":
        base.pop("prefix_fractions")
    return from_settings({**base, **settings})


def built(settings, rows) -> MechanismsTrainer:
    trainer = build([settings], rows)
    assert isinstance(trainer, MechanismsTrainer)
    return trainer


def stopped_and_resumed(wanted, rows, path, shares=(0.2, 0.6)):
    for share in shares:

        def stop(member, fraction, history, share=share):
            if fraction >= share:
                raise Cancelled

        with pytest.raises(Cancelled):
            train([wanted], rows, checkpoints=[path], watch=stop)
    return train([wanted], rows, checkpoints=[path])[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("mode", ["corrected", "literal"])
def test_a_run_that_was_stopped_is_the_undisturbed_one(x, device, tmp_path, architecture, mode):
    lengths = {"prune_window": 4, "reallocation_window": 7, "neighbourhood_window": 5}
    wanted = config(architecture=architecture, mechanism_mode=mode, **EVERYTHING, **lengths)
    rows = ResidentRows(x.to(device))
    whole = train([wanted], rows)[0]
    resumed = stopped_and_resumed(wanted, rows, tmp_path / "checkpoint.safetensors")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.summary == resumed.summary
    assert whole.history.drop(columns="seconds").equals(resumed.history.drop(columns="seconds"))
    # every mechanism acted, and said so
    for name in ("orthogonality_steps", "ortsae_steps", "prune_checks", "reallocation_checks", "l1_changes"):
        assert whole.summary[name] > 0, name
    assert whole.summary["neighbourhood_changes"] == 6 and whole.summary["prune_checks"] == 8
    assert whole.summary["reallocated"] + whole.summary["pruned"] > 0
    columns = (
        "orthogonality_loss tau pair_fraction pairs_selected pair_jaccard pair_lifetime pair_entropy l1_coefficient"
    )
    assert {*columns.split(), "pruned", "reallocated", "ortsae_loss", "damped_share"} <= {*whole.history.columns}


def test_topk_by_autograd_is_the_fast_training(x):
    """With a penalty of weight 0 the twin takes the same steps, AuxK among them."""
    rows = ResidentRows(x)
    for settings in ({}, {"selection": "magnitude", "subtract_b_dec": False, "decoder_norm": "initial"}):
        plain = config(auxk_window=64, epochs=2, **settings)
        fast = build([plain], rows)
        assert isinstance(fast, SparseTrainer)
        twin = build(
            [config(auxk_window=64, epochs=2, orthogonality="hinge", orthogonality_weight=0.0, **settings)], rows
        )
        assert isinstance(twin, TopKAutogradTrainer)
        for batch in rows.batches(0, 0, 64):
            torch.testing.assert_close(fast.step(batch), twin.step(batch), rtol=2e-4, atol=1e-6)
        assert torch.equal(fast.last_fired, twin.last_fired)
        for name, value in fast.finished_model().state_dict().items():
            torch.testing.assert_close(twin.finished_model().state_dict()[name], value, rtol=2e-3, atol=2e-4)


def planted(n=1200, seed=0):
    """Rows of six directions, the first two of which are always there together or not at all."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q[:6]
    on = (torch.rand(n, 6, generator=generator) < 0.3).float()
    on[:, 1] = on[:, 0]
    return (on * (0.7 + 0.6 * torch.rand(n, 6, generator=generator))) @ directions


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pair_that_fires_together_is_selected_and_pulled_apart(architecture):
    """Two features start as the two directions that always come together."""
    rows = ResidentRows(planted())
    settings = {"d_sae": 8, "k": 4, "epochs": 8, "batch_size": 100, "lr": 3e-3, "input_scaling": False}
    after = {}
    for weight in (0.0, 3.0):
        penalty = {"orthogonality": "hinge", "orthogonality_weight": weight, "pair_fraction": 1 / 28, "min_pairs": 1}
        trainer = built(config(architecture=architecture, **settings, **penalty), rows)
        directions = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q[:6]
        with torch.no_grad():
            trainer.model.W_dec[:6] = directions
            trainer.model.W_enc.copy_(trainer.model.W_dec.T)
            trainer.model.W_enc[:, 6:] *= 0
            trainer.model.b_dec.zero_()
        for epoch in range(8):
            for batch in rows.batches(0, epoch, 100):
                trainer.step(batch)
                if weight and not epoch and trainer.step_number == 1:
                    constraint = trainer.mechanisms["pairs"]
                    assert isinstance(constraint, Orthogonality)
                    chosen = constraint.stability._last
                    assert chosen.tolist() == [0 * 8 + 1]
        code = trainer.model.encode(planted()).detach()
        unit = code / code.norm(dim=0).clamp_min(1e-12)
        after[weight] = float(unit[:, 0] @ unit[:, 1])
    assert after[0.0] > 0.9 and after[3.0] < after[0.0] - 0.2


def test_redundant_features_are_pruned_and_important_ones_are_not(x):
    """Two twins of feature 0: of features that fire alike, one stays."""
    rows = ResidentRows(x)
    for architecture in ARCHITECTURES:
        settings = {"prune": True, "prune_window": 3, "lr": 1e-6, "architecture": architecture}
        trainer = built(config(**settings), rows)
        with torch.no_grad():
            strongest = int(trainer.model.encode(trainer.scaled(x)).sum(0).argmax())
            twins = [number for number in range(60) if number != strongest][:2]
            for twin, size in zip(twins, (0.999, 1.001), strict=True):
                trainer.model.W_enc[:, twin] = trainer.model.W_enc[:, strongest] * size
                trainer.model.b_enc[twin] = trainer.model.b_enc[strongest]
                trainer.model.W_dec[twin] = trainer.model.W_dec[strongest]
        before = trainer.model.W_dec.detach().clone()
        batches = list(rows.batches(0, 0, 64))
        for batch in batches[:3]:
            trainer.step(batch)
        changed = ((trainer.model.W_dec - before).norm(dim=1) > 0.01).nonzero()[:, 0].tolist()
        assert trainer.summary(0)["pruned"] == len(changed)
        assert len({strongest, *twins} & set(changed)) == 2
        for number in changed:
            assert trainer.model.b_enc[number].item() == 0.0
            states = [trainer._optimizer.state[p] for p in (trainer.model.W_dec, trainer.model.b_enc)]
            assert all(not state["exp_avg"][number].any() for state in states)
        assert (trainer.last_fired[0, changed] == trainer.rows_seen).all()


def test_idle_features_are_drawn_anew_from_the_residual(x):
    rows = ResidentRows(x)
    settings = {"architecture": "standard", "reallocation": True, "reallocation_window": 4, "l1_coefficient": 0.0}
    trainer = built(config(**settings), rows)
    with torch.no_grad():
        trainer.model.b_enc[[3, 9]] = -50.0
    for batch in list(rows.batches(0, 0, 64))[:4]:
        last = trainer.scaled(batch)
        trainer.step(batch)
    assert trainer.summary(0)["reallocated"] == 2
    assert (trainer.model.b_enc[[3, 9]] == 0).all()
    norms = trainer.model.W_enc.norm(dim=0)
    others = torch.ones(60, dtype=torch.bool)
    others[[3, 9]] = False
    torch.testing.assert_close(norms[[3, 9]], 0.2 * norms[others].mean().expand(2), rtol=1e-4, atol=1e-6)
    assert last.shape[1] == trainer.model.W_dec.shape[1]


@pytest.mark.parametrize(
    ("settings", "rows", "said"),
    [
        ({"prune": True, "mechanism_mode": "literal"}, 700, "33 steps is shorter than prune_window, which is 100"),
        ({"reallocation": True, "reallocation_window": 34}, 700, "shorter than reallocation_window, which is 34 steps"),
        ({"orthogonality": "hinge", "pair_fraction_schedule": "linear", "mechanism_mode": "literal"}, 700, "10,000"),
        ({"prune": True}, 300, "15 steps is too short for its mechanisms: windows are up to 1/20"),
        ({}, 0, "0 training rows make a run of 0 steps"),
        ({"architecture": "standard", "l1_warmup_steps": 50}, 700, "l1_warmup_steps, which is 50"),
    ],
)
def test_a_run_shorter_than_its_lengths_is_refused(settings, rows, said):
    with pytest.raises(UserError, match=said):
        check_lengths(config(**settings), rows)


def test_lengths_that_fit_are_scaled_to_the_run():
    check_lengths(config(), 1)
    wanted = config(prune=True, reallocation=True, orthogonality="hinge", pair_fraction_schedule="linear", epochs=10)
    check_lengths(wanted, 700)
    summary = build([wanted], ResidentRows(torch.randn(700, 12))).summary(0)
    assert summary["prune_window"] == 5  # of 110 steps
    assert summary["reallocation_window"] == 11 and summary["pair_fraction_steps"] == 55


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"orthogonality": "some"}, "take one of none, hinge, linear, plain, tau_weight"),
        ({"pair_fraction": 1.5}, "pair_fraction 1.5 must lie between 0 and 1"),
        ({"importance_protection": True}, "set prune=true"),
        ({"inhibition": "fixed"}, "inhibition_radius 32 takes in all of d_sae 60"),
        ({"tau_min": 0.9}, "tau_min 0.9 is above tau_max 0.5"),
        ({"prune_window": -1}, "prune_window -1 must be at least 0"),
        ({"architecture": "matryoshka", "prefix_fractions": "1/2, 3/4"}, "must rise to 1"),
        ({"architecture": "matryoshka", "prefix_fractions": "a"}, "must be numbers"),
        ({"architecture": "standard", "lr_warmup_steps": -2}, "or -1 for none"),
        ({"architecture": "binary", "prune": True}, "'prune' is not a setting"),
    ],
)
def test_settings_that_can_not_be_say_which_and_why(settings, said):
    with pytest.raises(UserError, match=said):
        config(**settings)
