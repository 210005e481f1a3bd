"""What must hold for a run's numbers to mean what they say, each checked from the arrays themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sae.analysis.codes import FeatureActivations

NORM_TOLERANCE = 1e-3


class Check(NamedTuple):
    """One check: whether it holds (None where it does not apply), and what was found."""

    name: str
    holds: bool | None
    found: str


def l0_is_k(codes: FeatureActivations, k: int | None, held: bool = True) -> Check:
    """No row has more than K active features; a row may have fewer where fewer are positive.

    Args:
        held: whether the architecture keeps to K; a code that is rounded at a threshold only aims at it.
    """
    counts = np.diff(codes.row_indptr)
    found = f"mean {counts.mean():.2f}, largest {counts.max():,}" if len(counts) else "no rows"
    if k is None:
        return Check("At most K features a row", None, f"{found}; this architecture has no K")
    if not held:
        return Check("At most K features a row", None, f"{found}; K = {k:,} is aimed at and not held")
    exact = float((counts == k).mean()) if len(counts) else 0.0
    return Check(
        "At most K features a row", bool((counts <= k).all()), f"{found}; exactly K on {100 * exact:.1f} % of rows"
    )


def unit_decoder(W_dec: np.ndarray, held: bool) -> Check:
    """Decoder rows [d_sae, d_in] have norm 1; `held` says whether the recipe keeps them there."""
    norms = np.linalg.norm(W_dec.astype(np.float64), axis=1)
    found = f"{norms.min():.4f} to {norms.max():.4f}"
    if not held:
        return Check("Decoder rows at unit norm", None, f"{found}; this training does not hold them there")
    return Check("Decoder rows at unit norm", bool((np.abs(norms - 1) <= NORM_TOLERANCE).all()), found)


def finite(weights: Mapping[str, np.ndarray]) -> Check:
    """No weight is NaN or infinite."""
    bad = {name: int((~np.isfinite(value)).sum()) for name, value in weights.items()}
    wrong = ", ".join(f"{count:,} in {name}" for name, count in bad.items() if count)
    return Check("All weights finite", not wrong, wrong or f"{sum(v.size for v in weights.values()):,} weights")


def splits_apart(split: np.ndarray, example: np.ndarray) -> Check:
    """No example has rows on both sides of the split."""
    train = np.unique(example[split == "train"])
    both = np.intersect1d(train, np.unique(example[split != "train"]))
    return Check(
        "No example on both sides of the split", len(both) == 0, f"{len(both):,} of {len(np.unique(example)):,}"
    )


def questions_apart(overlap: int | None) -> Check:
    """No held-out example repeats a training question letter for letter (`sae.capture.overlap`)."""
    name = "No held-out question seen in training"
    if overlap is None:
        return Check(name, None, "the rows come without questions")
    return Check(name, overlap == 0, f"{overlap:,} repeated")


def agrees(stored: float, codes_l0: float) -> Check:
    """The L0 in metrics.json is that of the stored feature activations over all rows."""
    return Check("Metrics agree with the stored activations", abs(stored - codes_l0) < 1e-6 * max(1.0, codes_l0),
                 f"L0 {stored:.4f} and {codes_l0:.4f}")  # fmt: skip


def unchanged(recorded: Mapping[str, str], now: Mapping[str, str]) -> Check:
    """Files have the SHA-256 that was recorded when the run was finished."""
    wrong = [name for name, digest in recorded.items() if now.get(name) != digest]
    return Check("Files unchanged since the run was finished", not wrong, ", ".join(wrong) or f"{len(recorded)} files")
