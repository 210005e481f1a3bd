"""The published report's future work: larger dictionaries, more active features, the same run from five seeds."""

from sae.experiments.plan import Factor, Kind
from sae.experiments.presets import RECIPES

SCALING = Kind(
    name="scaling",
    title="Scaling in K and size",
    question="How does what is left unexplained fall with K and dictionary size, and what is memorised?",
    factors=(
        Factor("preset", ("corrected",), "recipe"),
        Factor("d_sae", (512, 1024, 2048, 4096, 8192), "dictionary size (features)"),
        Factor("k", (5, 10, 20, 50, 100, 200, 500), "K (active features a row)"),
        Factor("seed", (0,), "seed"),
    ),
    recipes={"preset": RECIPES},
    known="The report's grid ended at 2,048 features and K 100. The Grid page's view Scaling fits a law without the "
    "largest size and judges it there.",
)
STABILITY = Kind(
    name="stability",
    title="Stability over seeds",
    question="Which features of one configuration are found again from other seeds, and how many are chance?",
    factors=(
        Factor("preset", ("corrected",), "recipe"),
        Factor("d_sae", (512,), "dictionary size (features)"),
        Factor("k", (20,), "K (active features a row)"),
        Factor("seed", (0, 1, 2, 3, 4), "seed"),
    ),
    recipes={"preset": RECIPES},
    known="The report trained one seed of each. Compare matches two of them; a feature's card says in how many it is "
    "found.",
)
