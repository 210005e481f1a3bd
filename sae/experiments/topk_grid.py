"""The TopK grid: quality against sparsity against feature death, over K and dictionary size."""

from sae.experiments.plan import Factor, Kind
from sae.experiments.presets import RECIPES

TOPK_GRID = Kind(
    name="topk-grid",
    title="TopK grid",
    question="How do sparsity and dictionary size trade explained variance against dead features?",
    factors=(
        Factor("preset", ("corrected",), "recipe"),
        Factor("d_sae", (512, 1024, 2048), "dictionary size (features)"),
        Factor("k", (5, 10, 20, 100), "K (active features a row)"),
        Factor("seed", (0,), "seed"),
    ),
    recipes={"preset": RECIPES},
)
