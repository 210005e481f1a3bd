"""From a specification to runs."""

import pytest

from sae.common.errors import UserError
from sae.experiments import kind_of
from sae.experiments.plan import Spec, resolve, seed_values
from sae.experiments.presets import PRESETS
from sae.training.config import CONFIGS

GRID = kind_of("topk-grid")


def plan(**changes):
    return resolve(GRID, Spec(**{"kind": "topk-grid", "name": "g", "activations": "a", **changes}))


def test_the_default_is_the_grid_of_twelve():
    runs = plan().runs
    assert {(run.factors["k"], run.factors["d_sae"]) for run in runs} == {
        (k, d) for k in (5, 10, 20, 100) for d in (512, 1024, 2048)
    }
    assert len(runs) == 12 and {run.factors["preset"] for run in runs} == {"corrected"}
    assert all(run.config.epochs == 25 and run.config.batch_size == 256 and run.config.lr == 1e-3 for run in runs)


def test_every_run_has_an_id_of_its_own_that_is_the_same_tomorrow():
    first, again = (
        plan(factors={"seed": [0, 1], "preset": list(PRESETS)}),
        plan(factors={"seed": [0, 1], "preset": list(PRESETS)}),
    )
    ids = [run.id for run in first.runs]
    assert len(set(ids)) == len(ids) == 12 * 2 * 3
    assert ids == [run.id for run in again.runs]
    for changes in ({"settings": {"epochs": 3}}, {"name": "h"}, {"activations": "b"}, {"layer": 3}):
        assert not set(ids) & {run.id for run in plan(**changes).runs}


def test_presets_say_what_the_report_and_its_code_did():
    runs = {
        run.factors["preset"]: run.config
        for run in plan(factors={"preset": list(PRESETS), "k": [5], "d_sae": [512]}).runs
    }
    published, report, corrected = runs["published"], runs["report"], runs["corrected"]
    assert (published.selection, published.decoder_bias, published.decoder_norm) == ("magnitude", True, "initial")
    assert (report.selection, report.decoder_bias, report.decoder_norm) == ("magnitude", False, "every_step")
    assert (corrected.selection, corrected.b_dec_init, corrected.project_gradient) == ("signed", "mean", True)
    assert published.auxk_coefficient == report.auxk_coefficient == 0


def test_the_users_settings_win_over_the_preset():
    run = plan(factors={"preset": ["published"]}, settings={"decoder_norm": "every_step", "epochs": "7"}).runs[0]
    assert run.config.decoder_norm == "every_step" and run.config.epochs == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"factors": {"k": [600], "d_sae": [512]}}, "k 600 is larger than d_sae 512"),
        ({"factors": {"colour": [1]}}, "'colour' is not a factor of topk-grid"),
        ({"factors": {"k": []}}, "factor 'k' has no values"),
        ({"factors": {"preset": ["best"]}}, "preset 'best' is not known"),
        ({"settings": {"k": 3}}, "'k' is a factor"),
        ({"settings": {"speed": 3}}, "'speed' is not a setting"),
        ({"factors": {"seed": list(range(2000))}}, "24,000 runs are more"),
    ],
)
def test_what_can_not_be_planned_says_why(changes, said):
    with pytest.raises(UserError, match=said):
        plan(**changes)


def test_unknown_kind():
    with pytest.raises(UserError, match="'sweep' is not known: take one of topk-grid"):
        kind_of("sweep")


def test_seeds_count_seeds():
    assert seed_values(3) == [0, 1, 2]
    with pytest.raises(UserError, match="at least 1"):
        seed_values(0)


def test_architectures_are_compared_at_four_sparsities_and_three_seeds():
    kind = kind_of("architectures")
    runs = resolve(kind, Spec("architectures", "a", "any")).runs
    # all that read and write one slice of real-valued activations
    assert {run.config.architecture for run in runs} == set(CONFIGS) - {"binary", "transcoder", "crosscoder"}
    assert len({run.factors["k"] for run in runs}) >= 4 and {run.factors["seed"] for run in runs} == {0, 1, 2}
    assert kind.matched == "l0"
