"""Which feature of another SAE is the same one: matched one to one, beside what chance would match."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sae.analysis.matching_assignment import CANDIDATES, assign
from sae.analysis.matching_blocks import ActivationCorrelations, DecoderCosines
from sae.analysis.matching_null import best_alike_cosines, best_random_cosine

if TYPE_CHECKING:
    import pandas as pd

    from sae.analysis.codes import FeatureActivations
    from sae.analysis.matching_blocks import Similarities
    from sae.common.progress import Progress

By = Literal["cosine", "correlation"]
#: "random": uniform directions; "alike": directions that spread as the decoders' own; "permuted": rows permuted.
NullName = Literal["random", "alike", "permuted"]
CERTAIN = 0.999


@dataclass(frozen=True)
class Null:
    """What the best similarity of a feature is by chance: its median and its 99.9 % quantile."""

    name: NullName
    median: float
    high: float


@dataclass(frozen=True)
class Matching:
    """Two SAEs' living features, matched one to one.

    Attributes:
        features: a line a living feature of the first: `feature`, `partner` (its match in the other, -1 for none),
            `similarity` (with it; 0 for none), `nearest` (the most similar feature of the other, -1 for none) and
            `nearest_similarity`.
        others: the same lines for the living features of the other, seen from there.
        nulls: what chance reaches; the last one is what "above chance" is read against.
        total: the sum of matched similarities. gap: how far below the best possible it can be at most.
    """

    by: By
    features: pd.DataFrame
    others: pd.DataFrame
    nulls: tuple[Null, ...]
    total: float
    gap: float

    @property
    def floor(self) -> float:
        """The 99.9 % quantile of what chance reaches."""
        return self.nulls[-1].high if self.nulls else 0.0

    def swapped(self) -> Matching:
        """The same matching seen from the other SAE."""
        return replace(self, features=self.others, others=self.features)


def match_directions(
    W_a: np.ndarray,
    W_b: np.ndarray,
    living_a: np.ndarray,
    living_b: np.ndarray,
    *,
    unsigned: bool = False,
    candidates: int = CANDIDATES,
    progress: Progress | None = None,
) -> Matching:
    """Match by the cosine of decoder rows.

    Args:
        W_a: [n, d_in]. W_b: [m, d_in]. living_a: bool [n]. living_b: bool [m].
        unsigned: by |cosine|, for SAEs whose activations have either sign.

    Raises:
        UserError: if the dimensions differ, or a living feature's row is zero.
    """
    one, other = np.flatnonzero(living_a), np.flatnonzero(living_b)
    similar = DecoderCosines(W_a[one], W_b[other], unsigned)
    alike = best_alike_cosines(similar.a, similar.b, unsigned=unsigned)
    median, high = best_random_cosine(np.array([0.5, CERTAIN]), len(other), W_a.shape[1], unsigned)
    nulls = [Null("random", float(median), float(high))]
    if len(alike):
        nulls.append(Null("alike", float(np.median(alike)), float(np.quantile(alike, CERTAIN))))
    return _matching("cosine", similar, one, other, tuple(nulls), candidates, progress)


def match_activations(
    one: FeatureActivations,
    other: FeatureActivations,
    *,
    unsigned: bool = False,
    candidates: int = CANDIDATES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Matching:
    """Match by Pearson's r of activations over the rows that both have, zeros included. Null: rows permuted.

    Raises:
        UserError: if they are not of the same number of rows.
    """
    from sae.analysis.seed_match import rows_permuted

    living = np.flatnonzero(one.n_active > 0)
    others = np.flatnonzero(other.n_active > 0)
    similar = ActivationCorrelations(one, other, living, others, unsigned)
    nulls: tuple[Null, ...] = ()
    if len(living) and len(others):
        chosen = np.unique(np.linspace(0, len(living) - 1, min(len(living), 2_000)).astype(int))
        permuted = ActivationCorrelations(one, rows_permuted(other, seed), living[chosen], others, unsigned)
        step = max(1, 16_000_000 // len(others))
        parts = np.split(np.arange(len(chosen)), range(step, len(chosen), step))
        best = np.concatenate([permuted.rows(part).max(axis=1) for part in parts])
        nulls = (Null("permuted", float(np.median(best)), float(np.quantile(best, CERTAIN))),)
    return _matching("correlation", similar, living, others, nulls, candidates, progress)


def _matching(
    by: By,
    similar: Similarities,
    one: np.ndarray,
    other: np.ndarray,
    nulls: tuple[Null, ...],
    candidates: int,
    progress: Progress | None,
) -> Matching:
    found = assign(similar, candidates, progress)
    back = np.full(len(other), -1, np.int64)
    together = np.flatnonzero(found.partner >= 0)
    back[found.partner[together]] = together
    return Matching(
        by,
        _seen_from(similar, one, other, found.partner, found.best, turned=False),
        _seen_from(similar, other, one, back, found.column_best, turned=True),
        nulls,
        found.total,
        found.gap,
    )


def _seen_from(
    similar: Similarities, here: np.ndarray, there: np.ndarray, partner: np.ndarray, best: np.ndarray, turned: bool
) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, np.ndarray] = {"feature": here.astype(np.int32)}
    for name, value, chosen in (("partner", "similarity", partner), ("nearest", "nearest_similarity", best)):
        found, known = np.zeros(len(here)), np.flatnonzero(chosen >= 0)
        line, column = (chosen[known], known) if turned else (known, chosen[known])
        found[known] = similar.pairs(line, column)
        columns[name] = np.where(chosen >= 0, there[np.maximum(chosen, 0)] if len(there) else -1, -1).astype(np.int32)
        columns[value] = found
    return pd.DataFrame(columns)
