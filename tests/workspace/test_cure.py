"""The cure of dead features: what it changes, and the run that it trains."""

from typing import Any

import pytest

from sae.common.errors import UserError
from sae.training.config import CONFIGS, from_settings
from sae.workspace.autopsies import autopsy_of
from sae.workspace.child import JobProgress
from sae.workspace.cure import changes, cure_spec, cured
from sae.workspace.work import run_experiment
from tests.workspace.grids import train_grid


def test_a_published_run_is_trained_again_with_the_cure(filled, tmp_path):
    train_grid(filled, tmp_path / "a", k=(2,), d_sae=(32,), seeds=(3,))
    (run,) = filled.experiment("grid").runs()
    assert cured(filled, run) is None
    spec = cure_spec(run)
    run_experiment(filled, spec, "cpu", JobProgress(tmp_path))
    begun = cured(filled, run)
    assert begun is not None and begun[1] is not None
    cure = begun[1]
    before, after = run.config["training"], cure.config["training"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == set(changes(before)) and {"encoder_init", "b_dec_init", "auxk_coefficient"} <= changed
    assert (after["seed"], after["k"], after["d_sae"], after["epochs"]) == (3, 2, 32, 2)
    with pytest.raises(UserError, match="whole cure already"):
        cure_spec(cure)
    # A dead feature is silent in the stored activations, and no nearer than the row's weakest winner allows.
    found = autopsy_of(filled, run)
    dead = set(run.features().query("dead")["feature"])
    assert set(found.table.query("n_active == 0")["feature"]) == dead
    assert (found.table.query("n_active == 0")["short"] > 0).all()


def test_what_has_no_cure_says_why():
    with pytest.raises(UserError, match="not trained here"):
        changes(None)
    with pytest.raises(UserError, match="'standard' has none of them"):
        changes({"architecture": "standard"})


@pytest.mark.parametrize("architecture", sorted(set(CONFIGS) - {"binary", "standard", "panneal", "gated", "jumprelu"}))
def test_every_architecture_that_selects_is_cured_by_settings_that_it_has(architecture):
    bad: dict[str, Any] = {"input_scaling": False, "auxk_coefficient": 0.0}
    bad |= {"decoder_init": "random"} if architecture == "transcoder" else {"encoder_init": "linear"}
    training = from_settings({"architecture": architecture, "d_sae": 64, "k": 4}).as_dict()
    assert changes(training) == {}
    changed = changes({**training, **bad})
    assert set(changed) == set(bad)
    cure = from_settings({**training, **bad, **{name: becomes for name, (_, becomes) in changed.items()}})
    assert changes(cure.as_dict()) == {} and cure.architecture == architecture
