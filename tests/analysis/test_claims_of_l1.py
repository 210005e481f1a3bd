"""Claims on TopK and L1: that what they name is there, and the check of how far a setting carries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sae.analysis.claims.documents import FOLDER, Claim, load
from sae.analysis.claims.measured import Ablation, Measured
from sae.analysis.claims.sensitivity import elasticity
from sae.experiments import KINDS

DOCUMENT = load(FOLDER / "topk-grid.json")
NAMED = [claim for claim in DOCUMENT.claims if claim.section in ("1.1", "4.2", "5.2") and "kind" in claim.arguments]


def test_every_claim_names_factors_and_levels_that_are_there():
    assert len(NAMED) >= 11
    for claim in NAMED:
        kind = KINDS[claim.arguments["kind"]]
        factors = {factor.name: factor.default for factor in kind.factors}
        named = [claim.arguments[name] for name in ("factor", "setting", "across") if name in claim.arguments]
        assert set(named) <= set(factors)
        for place in ("level", "where"):
            for name, value in claim.arguments.get(place, {}).items():
                assert value in factors[name], claim.id
        assert not claim.arguments.get("matched") or kind.matched == "l0"


def swept(exponents: list[float], rate: float = 2.0) -> Measured:
    """L0 = 20 * (weight / 0.04)^exponent, a seed each; at the larger rate `rate` times as much."""
    runs = pd.DataFrame(
        [
            {"id": f"{weight}-{lr}-{seed}", "method": "relu-l1-2023", "l1_coefficient": weight, "lr": lr, "d_sae": 512,
             "seed": seed, "l0": 20 * (weight / 0.04) ** exponent * (rate if lr == 0.01 else 1.0)}
            for seed, exponent in enumerate(exponents) for weight in (0.01, 0.02, 0.04, 0.08) for lr in (0.003, 0.01)
        ]
    )  # fmt: skip
    kind = KINDS["l1-sensitivity"]
    factors = tuple(factor.name for factor in kind.factors)
    ablation = Ablation("swept", kind.name, "validation", factors, {}, "", runs)
    return Measured("swept", "corrected", "planted", {}, pd.DataFrame(), ablations={kind.name: ablation})


def judged(measured: Measured):
    (claim,) = [claim for claim in NAMED if claim.check == "elasticity"]
    return elasticity(claim, DOCUMENT, measured)


@pytest.mark.parametrize(
    ("exponents", "verdict"),
    [([-1.5, -1.6, -1.55], "reproduced"), ([-0.8, -0.82, -0.81], "refuted"), ([-0.8, -1.0, -1.2], "differs")],
)
def test_a_power_law_has_its_exponent_for_elasticity(exponents, verdict):
    found = judged(swept(exponents))
    assert found.verdict == verdict
    assert found.number == pytest.approx(np.mean(exponents), rel=1e-9)
    assert "up to 2.0 times the l0 at another lr" in found.reason


def test_one_seed_is_not_judged():
    assert judged(swept([-1.5])).verdict == "not testable here"


def test_values_outside_of_the_range_do_not_count():
    claim: Claim = next(claim for claim in NAMED if claim.check == "elasticity")
    measured = swept([-1.5, -1.5])
    runs = measured.ablations["l1-sensitivity"].runs
    beyond = runs["l0"] > claim.arguments["between"][1]
    assert 0 < beyond.sum() < len(runs)
    runs.loc[beyond, "l0"] *= 50  # a kink above the range changes nothing within it
    assert judged(measured).number == pytest.approx(-1.5, abs=1e-6)
