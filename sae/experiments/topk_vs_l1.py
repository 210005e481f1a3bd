"""TopK beside an L1 penalty: the report's reasons for TopK at equal L0, and how far a penalty's weight carries."""

from __future__ import annotations

from typing import Any

from sae.experiments.architectures import ARCHITECTURES
from sae.experiments.plan import Factor, Kind
from sae.experiments.recipes import Recipe

METHODS = {name: ARCHITECTURES[name] for name in ("topk", "relu-l1-2023", "relu-l1-2024")}
_KNOWN = (
    "The report gives shrinkage, an L0 that varies and a penalty that is hard to tune as its reasons for TopK, and "
    "measures none of them."
)


def _uncalibrated(version: str) -> Recipe:
    settings: dict[str, Any] = {"architecture": "standard", "version": version}
    return Recipe(settings, ARCHITECTURES[f"relu-l1-{version}"].meaning)


TOPK_VS_L1 = Kind(
    name="topk-vs-l1",
    title="TopK against L1",
    question="At equal L0: does an L1 penalty shrink activations, spread L0 over rows, and what does it cost?",
    factors=(
        Factor("method", tuple(METHODS), "what makes it sparse"),
        Factor("d_sae", (512,), "dictionary size (features)"),
        Factor("k", (5, 10, 20, 50), "K, or the L0 aimed at"),
        Factor("seed", (0, 1, 2), "seed"),
    ),
    settings={"epochs": 100},
    metrics=("ev_total", "l0", "reconstruction_bias", "l0_sd", "l2_ratio", "dead", "dense", "mse"),
    baseline={"method": "topk"},
    matched="l0",
    recipes={"method": METHODS},
    known=f"{_KNOWN} Penalties are calibrated in training until L0 is K, at rate 0.01; TopK trains at 0.001.",
)
L1_SENSITIVITY = Kind(
    name="l1-sensitivity",
    title="What a penalty's weight does",
    question="How far does L0 move with the weight of an L1 penalty, and does one weight carry over to another rate?",
    factors=(
        Factor("method", ("relu-l1-2023", "relu-l1-2024"), "version of the penalty"),
        Factor("lr", (0.003, 0.01), "learning rate"),
        Factor("l1_coefficient", (0.01, 0.02, 0.04, 0.08, 0.16, 0.32), "weight of the penalty"),
        Factor("d_sae", (512,), "dictionary size (features)"),
        Factor("seed", (0, 1, 2), "seed"),
    ),
    settings={"epochs": 100},
    metrics=("l0", "ev_total", "reconstruction_bias", "l0_sd", "dead", "dense"),
    recipes={"method": {f"relu-l1-{version}": _uncalibrated(version) for version in ("2023", "2024")}},
    known=_KNOWN,
)
