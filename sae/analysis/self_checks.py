"""What must hold for a run's numbers to mean what they say, each checked from the arrays themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sae.analysis.codes import FeatureActivations

NORM_TOLERANCE = 1e-3
EV_TOLERANCE = 2e-3  # of what is computed again: feature activations may be stored in half precision
SAME_DIRECTION = 0.99
REPEATED_SHARE = 0.01


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


def ev_again(stored: float, x: np.ndarray, guess: np.ndarray, mean: np.ndarray) -> Check:
    """EV_total of the stored weights and activations on rows x [n, d_in], from their reconstruction and the train rows'
    mean, is the one in metrics.json.
    """
    found = explained(x, guess, mean)
    return Check(
        "Explained variance comes out again from the files", abs(found - stored) <= EV_TOLERANCE,
        f"{found:.4f}, stored {stored:.4f}; {len(x):,} rows",
    )  # fmt: skip


def mean_predictor(x: np.ndarray, mean: np.ndarray) -> Check:
    """Predicting the mean of rows x [n, d_in], in the precision of a reconstruction, has EV_total 0 where the spread is
    taken around `mean`: above 0 wherever that is no mean of theirs, as one number for all dimensions is not.
    """
    predicted = np.asarray(x, np.float64).mean(axis=0).astype(np.float32)
    found = explained(x, np.broadcast_to(predicted, x.shape), mean)
    return Check("Explained variance of predicting the mean is 0", abs(found) < 1e-4, f"{found:.1e}; {len(x):,} rows")


def explained(x: np.ndarray, guess: np.ndarray, mean: np.ndarray) -> float:
    """1 - Σ‖x - guess‖² / Σ‖x - mean‖², in float64."""
    error = spread = 0.0
    for start in range(0, len(x), 4096):
        rows = np.asarray(x[start : start + 4096], np.float64)
        error += float(((rows - guess[start : start + 4096]) ** 2).sum())
        spread += float(((rows - mean) ** 2).sum())
    return 1 - error / spread if spread else float("nan")


def directions_apart(cosine: np.ndarray) -> Check:
    """No living feature has nearly the decoder direction of another; `cosine`: with the nearest, of each living one.
    The opposite direction is another feature.
    """
    same = int((cosine > SAME_DIRECTION).sum())
    return Check(
        "No two living features with one direction", same == 0,
        f"{same:,} of {len(cosine):,} have a neighbour with cosine above {SAME_DIRECTION}",
    )  # fmt: skip


def examples_once(repeated: int | None, n: int) -> Check:
    """At most 1 % of the examples repeat the question of an earlier one on the same side of the split."""
    name = "Examples come once"
    if repeated is None:
        return Check(name, None, "the rows come without questions")
    return Check(name, repeated <= REPEATED_SHARE * n, f"{repeated:,} of {n:,} repeat an earlier one")
