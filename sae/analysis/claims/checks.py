"""The checks that claims name, by kind; each takes (claim, document, measured) and gives a finding.

A check reads its grid from the document's own table `grid` where the claim's evidence is `document`, and from the
experiment where it is `measured`; so a statement can be held against both.
"""

from __future__ import annotations

from collections.abc import Callable

from sae.analysis.claims import ablations, grids, levels, numbers, sensitivity
from sae.analysis.claims.documents import Claim, Document
from sae.analysis.claims.finding import Finding
from sae.analysis.claims.measured import Measured

Check = Callable[[Claim, Document, Measured | None], Finding]

CHECKS: dict[str, Check] = {
    "numbers": numbers.numbers,
    "record": numbers.record,
    "pareto": grids.pareto,
    "variance-share": grids.share,
    "death-formula": grids.formula_of_death,
    "steps": grids.steps,
    "best-cell": grids.best_cell,
    "largest-effect": grids.largest_effect,
    "cell": levels.cell,
    "row": levels.row,
    "gain": levels.gain,
    "seconds": levels.seconds,
    "exact-k": levels.exact_k,
    "mean-predictor": levels.mean_predictor,
    "decoder-norms": levels.decoder_norms,
    "other-preset": levels.other_preset,
    "bounded": ablations.bounded,
    "against-baseline": ablations.against_baseline,
    "beside": ablations.beside,
    "along": ablations.along,
    "smaller": ablations.smaller,
    "elasticity": sensitivity.elasticity,
}
