"""The TopK grid at every layer and every thought: where in a model's thinking sparse features are found."""

from sae.experiments.plan import Factor, Kind
from sae.experiments.topk_grid import TOPK_GRID

LAYER_POSITION_SWEEP = Kind(
    name="layer-position-sweep",
    title="Layer and position sweep",
    question="At which layers and thoughts do sparse features explain the activations, and where do they die?",
    factors=(Factor("layer", (), "layers"), Factor("position", (), "positions"), *TOPK_GRID.factors),
    recipes=TOPK_GRID.recipes,
)
