"""The two notes on top-k orthogonality: their arithmetic, and that what they are held against exists."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sae.analysis import claims
from sae.analysis.claims.documents import FOLDER
from sae.analysis.claims.measured import Ablation, Measured
from sae.experiments import KINDS, MEASUREMENTS

NAMES = ("orthogonality-schedules", "orthogonality-mechanisms")
OF_ABSORPTION = [f"absorption_{name}" for name in MEASUREMENTS["absorption"].of_run]
DOCUMENTS = [claims.load(FOLDER / f"{name}.json") for name in NAMES]


def test_every_measured_claim_names_a_level_and_a_metric_that_are_there():
    for document in DOCUMENTS:
        for claim in document.claims:
            if claim.evidence == "measured":
                kind = KINDS[claim.arguments["kind"]]
                assert claim.arguments["kind"] in document.experiment_kinds
                assert claim.arguments["metric"] in (*kind.metrics, *OF_ABSORPTION), claim.id
                assert claim.arguments["level"]["mechanism"] in kind.recipes["mechanism"], claim.id


def test_their_own_numbers():
    found = claims.evaluate(DOCUMENTS).set_index("id")
    assert not found.index.has_duplicates
    assert float(found.loc["l2-range", "value"]) == pytest.approx(94.70 - 0.04 * 133 - 0.1 * 0.61, abs=0.05)
    assert found.loc["l2-range", "verdict"] == "refuted"
    assert float(found.loc["schedule-end", "value"]) == pytest.approx(0.001 + 0.004 * (1 - math.exp(-5)), abs=1e-6)
    # A reconstruction of norm .26 at a cosine of .414: what is left of a unit vector.
    x, y = np.array([1.0, 0.0]), 0.26 * np.array([0.414, math.sqrt(1 - 0.414**2)])
    assert float(found.loc["reconstruction-kept", "value"]) == pytest.approx(((x - y) ** 2).sum(), abs=5e-4)
    # SAEBench divides by the tokens of a batch once more: what is left is near the square of the loss's 89.3.
    assert found.loc["mse-units", "value"] == "7,112" and 3.5 * (16 * 128 - 16) == 7112
    assert found.loc["mse-units", "verdict"] == "differs" and found.loc["exponential-better", "verdict"] == "refuted"
    assert found.loc["steps", "verdict"] == "refuted" and found.loc["protection", "value"] == "0.25"
    assert (found[found["evidence"] == "measured here"]["verdict"] == "not measured yet").all()


def test_held_against_an_experiment():
    kind = KINDS["orthogonality-matched"]
    lines = [
        {"mechanism": name, "d_sae": 64, "k": 8, "seed": seed, "l0": 8 + 0.1 * seed,
         "mean_abs_correlation": value + 0.001 * seed}
        for name, value in (("baseline", 0.05), ("pairs", 0.03), ("pruning", 0.08))
        for seed in (0, 1, 2)
    ]  # fmt: skip
    runs = pd.DataFrame(lines)
    factors = ("mechanism", "d_sae", "k", "seed")
    ablation = Ablation("apart", kind.name, "validation", factors, dict(kind.baseline), kind.matched, runs)
    measured = Measured("apart", "", "rows", {}, runs, ablations={kind.name: ablation})
    found = claims.evaluate(DOCUMENTS, {name: measured for name in NAMES}).set_index("id")
    assert found.loc["pairs-disentangle", "verdict"] == "reproduced"
    assert found.loc["pruning", "verdict"] == "refuted"
    assert found.loc["inhibition", "verdict"] == "not testable here"
    apart = runs.assign(l0=runs["l0"] * np.where(runs["mechanism"] == "pairs", 1.06, 1))
    measured = replace(measured, ablations={kind.name: replace(ablation, runs=apart)})
    found = claims.evaluate(DOCUMENTS, {name: measured for name in NAMES}).set_index("id")
    assert found.loc["pairs-disentangle", "verdict"] == "not testable here"
    assert "no runs at equal l0: it differs by 6 %" in found.loc["pairs-disentangle", "reason"]
    assert found.loc["pruning", "verdict"] == "refuted"


def absorption(rates: dict[str, float], l0: dict[str, float], seeds: int = 3, measured: bool = True) -> pd.Series:
    """The finding on absorption, of runs with these rates and L0 by mechanism."""
    kind = KINDS["orthogonality-matched"]
    lines = [
        {"mechanism": name, "d_sae": 64, "k": 8, "seed": seed, "l0": l0[name] + 0.01 * seed, "ev_total": 0.5}
        | ({"absorption_absorption_rate": rate + 0.002 * seed * (name == "baseline")} if measured else {})
        for name, rate in rates.items()
        for seed in range(seeds)
    ]
    runs = pd.DataFrame(lines)
    factors = ("mechanism", "d_sae", "k", "seed")
    ablation = Ablation("apart", kind.name, "validation", factors, dict(kind.baseline), kind.matched, runs)
    evidence = Measured("apart", "", "rows", {}, runs, ablations={kind.name: ablation})
    found = claims.evaluate(DOCUMENTS, {name: evidence for name in NAMES}).set_index("id")
    return found.loc["absorption-better"]


def test_absorption_is_judged_from_what_was_measured_at_equal_l0():
    alike = {"baseline": 8.0, "pairs-exponential": 8.2}
    found = absorption({"baseline": 0.3, "pairs-exponential": 0.2}, alike)
    assert found["verdict"] == "reproduced" and found["value"] == "30.2 % against 20.0 %" and found["n"] == 3
    assert found["number"] == pytest.approx(-0.102)
    assert absorption({"baseline": 0.2, "pairs-exponential": 0.3}, alike)["verdict"] == "refuted"
    assert absorption({"baseline": 0.2, "pairs-exponential": 0.2021}, alike)["verdict"] == "differs"
    one = absorption({"baseline": 0.3, "pairs-exponential": 0.2}, alike, seeds=1)
    assert one["verdict"] == "not testable here" and "one seed" in one["reason"]
    apart = absorption({"baseline": 0.3, "pairs-exponential": 0.2}, {"baseline": 8.0, "pairs-exponential": 9.6})
    assert apart["verdict"] == "not testable here" and "no runs at equal l0: it differs by 20 %" in apart["reason"]


def test_absorption_that_nobody_measured_is_not_judged():
    alike = {"baseline": 8.0, "pairs-exponential": 8.0}
    found = absorption({"baseline": 0.3, "pairs-exponential": 0.2}, alike, measured=False)
    assert found["verdict"] == "not measured yet" and found["reason"] == "'apart' was not measured by absorption"
