"""Every architecture at equal L0: those that choose how many features fire, and those that a penalty leads there."""

from __future__ import annotations

from typing import Any

from sae.experiments.plan import Factor, Kind
from sae.experiments.recipes import Recipe

# These start from random directions, which a small rate hardly turns in a short run; the others start from the data.
_LED: dict[str, Any] = {"calibrated": True, "lr": 1e-2}
ARCHITECTURES = {
    "topk": Recipe({"architecture": "topk"}, "TopK: exactly K a row"),
    "batchtopk": Recipe({"architecture": "batchtopk"}, "BatchTopK: K a row on average, a stored threshold afterwards"),
    "matryoshka": Recipe({"architecture": "matryoshka"}, "Matryoshka TopK: nested prefixes reconstruct by themselves"),
    "matryoshka-batchtopk": Recipe({"architecture": "matryoshka-batchtopk"}, "Matryoshka over BatchTopK"),
    "deep-topk": Recipe(
        {"architecture": "deep-topk", "encoder_layers": 2}, "TopK with a second layer of its encoder (GELU)"
    ),
    "relu-l1-2023": Recipe(
        {"architecture": "standard", "version": "2023", **_LED}, "ReLU with L1, decoder rows at unit norm"
    ),
    "relu-l1-2024": Recipe(
        {"architecture": "standard", "version": "2024", **_LED}, "ReLU with L1 times decoder norms, of any norm"
    ),
    "p-anneal": Recipe({"architecture": "panneal", **_LED}, "ReLU with an L_p penalty, p from 1 down"),
    "gated": Recipe({"architecture": "gated", **_LED}, "Gated: who fires and how strongly are two paths"),
    "jumprelu": Recipe({"architecture": "jumprelu", **_LED}, "JumpReLU: a threshold a feature, an L0 penalty"),
}
ARCHITECTURES_KIND = Kind(
    name="architectures",
    title="Architectures at equal L0",
    question="Which architecture explains most with as many active features, and at what price in dead ones?",
    factors=(
        Factor("method", tuple(ARCHITECTURES), "architecture"),
        Factor("d_sae", (512,), "dictionary size (features)"),
        Factor("k", (5, 10, 20, 50), "K, or the L0 aimed at"),
        Factor("seed", (0, 1, 2), "seed"),
    ),
    settings={"epochs": 100},
    metrics=("ev_total", "l0", "dead", "dense", "l2_ratio", "mse", "perplexity"),
    baseline={"method": "topk"},
    matched="l0",
    recipes={"method": ARCHITECTURES},
    known="Architectures led by a penalty have it calibrated in training until L0 is K; what is left of a difference "
    "in L0 is taken out by interpolation between their own sparsities. They train at rate 0.01, the others at 0.001.",
)
