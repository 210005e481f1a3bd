"""The cosine experiments: which runs they stand for."""

import pytest

from sae.common.errors import UserError
from sae.experiments import KINDS, kind_of
from sae.experiments.plan import Spec, resolve


def runs(kind, **changes):
    return resolve(kind_of(kind), Spec(**{"kind": kind, "name": "e", "activations": "a", **changes})).runs


def test_n_and_k_cross_as_the_papers_tables_do():
    found = runs("cosine-nk")
    assert len(found) == 16 and {run.config.architecture for run in found} == {"binary"}
    assert {(run.config.d_sae, run.config.k) for run in found} == {
        (n, k) for n in (1024, 2048, 4096, 8192) for k in (16, 32, 64, 128)
    }


def test_alpha_is_a_factor_like_any_other_and_six_runs_a_seed():
    found = runs("cosine-ablation-alpha", factors={"seed": [0, 1]})
    assert len(found) == 12
    assert sorted({run.config.alpha for run in found}) == [0, 0.1, 0.5, 1, 5, 10]
    assert len({run.id for run in found}) == 12


def test_losses_are_replaced_one_by_one_and_both():
    cells = {
        (run.config.reconstruction_objective, run.config.sparsity_objective) for run in runs("cosine-ablation-loss")
    }
    assert {("cosine", "cosine"), ("mse", "cosine"), ("cosine", "mse"), ("mse", "mse"), ("l1", "l1")} <= cells


def test_a_baseline_is_a_cell_of_its_own_experiment():
    for name in ("topk", "alpha", "loss", "round"):
        kind = kind_of(f"cosine-ablation-{name}")
        assert any(kind.baseline.items() <= run.factors.items() for run in runs(kind.name)), name


def test_settings_of_another_architecture_are_refused():
    with pytest.raises(UserError, match="'auxk_k' is not a setting"):
        runs("cosine-nk", settings={"auxk_k": 3})


def test_no_factor_has_a_metrics_name():
    """Results have both as columns of one table."""
    for kind in KINDS.values():
        assert not {factor.name for factor in kind.factors} & set(kind.metrics), kind.name
