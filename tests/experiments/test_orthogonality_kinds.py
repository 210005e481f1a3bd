"""The orthogonality experiments: what their recipes are, and that each trains."""

from typing import Any

import numpy as np
import pytest
import torch

from sae.common.errors import UserError
from sae.experiments import KINDS
from sae.experiments.orthogonality import AS_WRITTEN, ORTHOGONALITY_KINDS, PUBLISHED
from sae.experiments.plan import Spec, resolve
from sae.training.group import build
from sae.training.lengths import check_lengths
from sae.training.loop import train
from sae.training.rows import ResidentRows

TINY = {"epochs": 10, "batch_size": 32}
#: What makes the documents' own lengths fit into a short run.
SHORT = {"pair_fraction_steps": 10, "prune_window": 5, "neighbourhood_window": 5, "reallocation_window": 5,
         "lr_warmup_steps": 2}  # fmt: skip


def rows(n: int = 96, d_in: int = 16) -> ResidentRows:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(40, d_in, generator=generator), dim=1)
    on = torch.rand(n, 40, generator=generator) < 0.1
    return ResidentRows(on.float() @ atoms + 0.01 * torch.randn(n, d_in, generator=generator))


def spec(kind: str, **settings) -> Spec:
    return Spec(kind, "x", "a", factors={"d_sae": [80], "k": [4]}, settings={**TINY, **settings})


@pytest.mark.parametrize("kind", ORTHOGONALITY_KINDS, ids=lambda kind: kind.name)
def test_every_level_trains_and_says_how_often_it_acted(kind):
    shorter = SHORT if kind.name == "orthogonality-as-written" else {}
    for run in resolve(kind, spec(kind.name, **shorter)).runs:
        (trained,) = train([run.config], rows())
        assert all(torch.isfinite(p).all() for p in trained.model.parameters()), run.factors
        assert np.isfinite(trained.history["objective"].to_numpy(float)).all(), run.factors


def test_a_setting_of_one_architecture_alone_goes_to_those_that_have_it():
    runs = resolve(KINDS["orthogonality"], spec("orthogonality", clip_norm=1.0, auxk_coefficient=0.5)).runs
    for run in runs:
        other = run.factors["mechanism"] == "matryoshka"
        assert getattr(run.config, "clip_norm", None) == (None if other else 1.0)
        assert getattr(run.config, "auxk_coefficient", None) == (0.5 if other else None)
    with pytest.raises(UserError, match="'clip' is not a setting"):
        resolve(KINDS["orthogonality"], spec("orthogonality", clip=1.0))


def test_the_documents_runs_add_up():
    before: dict = {}
    for name in [f"004-{n}" for n in range(1, 10)]:
        settings = AS_WRITTEN[name].settings
        changed = {n for n in before if settings[n] != before[n]}
        assert changed <= {"inhibition"}, (name, changed)  # fixed neighbours become adaptive ones
        assert len(settings) > len(before) or changed
        before = settings
    assert AS_WRITTEN["003-4"].settings["tau_rule"] == "mean_std"
    for name, recipe in AS_WRITTEN.items():
        assert recipe.settings["l1_coefficient"] == (0.0 if name == "matryoshka" else 0.04), name


def test_the_documents_lengths_are_checked_before_a_run():
    plan = resolve(KINDS["orthogonality-as-written"], spec("orthogonality-as-written"))
    (run,) = [run for run in plan.runs if run.factors["mechanism"] == "003-3"]
    with pytest.raises(UserError, match=r"30 steps is shorter than pair_fraction_steps, which is 10,000"):
        check_lengths(run.config, 96)


def test_a_calibrated_run_has_the_l0_that_was_asked_for():
    kind = KINDS["orthogonality-matched"]
    settings = {"epochs": 60, "batch_size": 64, "lr": 2e-3, "l1_coefficient": 0.01}
    data = rows(1024)
    for k in (4, 12):
        plan = resolve(kind, Spec(kind.name, "x", "a", factors={"mechanism": ["baseline", "pairs"], "d_sae": [80],
                                                                "k": [k]}, settings=settings))  # fmt: skip
        for run in plan.runs:
            (trained,) = train([run.config], data)
            l0 = (trained.model.encode(data.take(torch.arange(data.n))) != 0).sum(1).float().mean()
            assert abs(float(l0) / k - 1) < 0.05, (k, run.factors, float(l0))


def test_a_calibrated_run_stopped_and_resumed_is_the_undisturbed_one():
    kind = KINDS["orthogonality-matched"]
    (run,) = resolve(kind, Spec(kind.name, "x", "a", factors={"mechanism": ["adaptive-l1"], "d_sae": [80], "k": [4]},
                                settings=TINY)).runs  # fmt: skip
    data = rows()
    whole, first, second = (build([run.config], data) for _ in range(3))
    batches = [data.take(torch.arange(start, start + 32) % data.n) for start in range(0, 32 * 20, 32)]
    for batch in batches:
        whole.step(batch)
    for batch in batches[:9]:
        first.step(batch)
    second.restore(0, first.state())
    for batch in batches[9:]:
        second.step(batch)
    for name, value in whole.state().items():
        assert torch.equal(value, second.state()[name]), name


def test_a_calibration_without_a_penalty_is_refused():
    with pytest.raises(UserError, match="set l1_coefficient above 0"):
        resolve(KINDS["orthogonality-matched"], spec("orthogonality-matched", l1_coefficient=0.0))


@pytest.mark.parametrize("kind", ORTHOGONALITY_KINDS, ids=lambda kind: kind.name)
def test_the_published_setting(kind):
    for run in resolve(kind, Spec(kind.name, "x", "a", factors={"seed": [0, 1]}, preset="published")).runs:
        config: Any = run.config
        assert (config.d_sae, config.batch_size, config.lr) == (2304, 2048, 3e-4)
        assert config.l1_coefficient == (0.04 if config.architecture == "standard" else 0)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"factors": {"d_sae": [512]}}, "has d_sae 2304: leave d_sae out"),
        ({"settings": {"lr": "0.001"}}, "has lr 0.0003: leave lr out"),
        ({"preset": "report"}, "preset 'report' is not known for .*: take one of published"),
    ]
    for more, message in wrong:
        with pytest.raises(UserError, match=message):
            resolve(kind, Spec(kind.name, "x", "a", **{"preset": "published", **more}))
    with pytest.raises(UserError, match="preset 'published' is not known for topk-grid: it has none"):
        resolve(KINDS["topk-grid"], Spec("topk-grid", "x", "a", preset="published"))


def test_the_published_setting_takes_its_own_activations_alone():
    right = {"model": {"name": "google/gemma-2-2b"}, "cut": {"context": 128}, "positions": "all"}
    PUBLISHED.check_activations(right, 19)
    PUBLISHED.check_activations({**right, "model": {"name": "/models/Gemma-2-2B"}}, 19)
    for change, layer, message in (
        ({"model": {"name": "google/gemma-2-9b"}}, 19, "model google/gemma-2-9b in place of gemma-2-2b:"),
        ({"model": None}, 19, "model no model"),
        ({}, 20, "layer 20 in place of 19:"),
        ({"cut": {"context": 256}}, 19, "context 256 in place of 128:"),
        ({"cut": None, "positions": "last"}, 19, "context None in place of 128, positions last in place of all:"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            PUBLISHED.check_activations({**right, **change}, layer)
        assert PUBLISHED.capture in str(caught.value) and "\n" not in str(caught.value)
