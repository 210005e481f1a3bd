"""What each feature of an SAE does and where its decoder points: one line a feature."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.analysis.codes import FeatureActivations, feature_ranges, segment_maxima, segment_sums
from sae.common.errors import UserError

SPLITS = ("train", "validation")
_BLOCK_ENTRIES = 4_000_000  # cosines held at once: 16 MB in float32


def feature_table(
    codes: FeatureActivations,
    *,
    split: np.ndarray | None = None,
    example: np.ndarray | None = None,
    W_dec: np.ndarray | None = None,
    W_enc: np.ndarray | None = None,
) -> pd.DataFrame:
    """Statistics of every feature over all rows. |f| is the size of an activation, whatever its sign.

    Args:
        split: [n_rows] of "train", "validation" or "test"; None counts every row as train.
        example: int [n_rows], which example a row belongs to; None: every row is its own.
        W_dec: [d_sae, d_in]. W_enc: [d_in, d_sae]. Where one is None its columns are NaN (-1 for
            nearest_feature).

    Returns:
        feature, n_active (rows), density (share of rows), n_active_train, n_active_validation, dead (never
        active on any row), dead_train (never on train rows), mean_activation and max_activation (of |f|
        over active rows, NaN for the dead), mean_signed, top_row (the first row of the largest |f|, -1 for
        the dead), n_examples (distinct examples on which it is active), decoder_norm, nearest_feature (the
        living feature, not itself, whose decoder direction is nearest by |cosine|; -1 without one),
        max_decoder_cosine (that cosine, with its sign), encoder_decoder_cosine.

    Raises:
        UserError: if an argument's shape does not fit the codes.
    """
    n_rows, d_sae, indptr = codes.n_rows, codes.d_sae, codes.feature_indptr
    for name, given, length in (("split", split, n_rows), ("example", example, n_rows)):
        if given is not None and np.shape(given) != (length,):
            raise UserError(f"{name} has shape {np.shape(given)}; these activations have {length} rows")
    if W_dec is not None and (np.ndim(W_dec) != 2 or len(W_dec) != d_sae):
        raise UserError(f"W_dec has shape {np.shape(W_dec)}; these activations have {d_sae} features")
    if W_enc is not None and (np.ndim(W_enc) != 2 or np.shape(W_enc)[1] != d_sae):
        raise UserError(f"W_enc has shape {np.shape(W_enc)}; these activations have {d_sae} features")
    if W_dec is not None and W_enc is not None and np.shape(W_enc)[0] != np.shape(W_dec)[1]:
        raise UserError(f"W_enc {np.shape(W_enc)} and W_dec {np.shape(W_dec)} have different d_in")

    n_active = codes.n_active
    number = None if example is None else np.unique(example, return_inverse=True)[1]
    which = (
        None if split is None else np.select([np.asarray(split) == name for name in SPLITS], [1, 2], 0).astype(np.int8)
    )
    ranges = list(feature_ranges(indptr)) or [(0, 0)]
    parts = [_statistics(codes, first, last, which, number) for first, last in ranges]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    table = pd.DataFrame(
        {
            "feature": np.arange(d_sae, dtype=np.int32),
            "n_active": n_active,
            "density": n_active / max(n_rows, 1),
            "n_active_train": found["n_train"],
            "n_active_validation": found["n_validation"],
            "dead": n_active == 0,
            "dead_train": found["n_train"] == 0,
            "mean_activation": found["mean_size"],
            "max_activation": found["largest"],
            "mean_signed": found["mean_signed"],
            "top_row": found["top_row"],
            "n_examples": n_active if example is None else found["n_examples"],
        }
    )
    table["decoder_norm"] = np.nan if W_dec is None else np.linalg.norm(np.asarray(W_dec), axis=1).astype(float)
    nearest, cosine = np.full(d_sae, -1, np.int32), np.full(d_sae, np.nan)
    if W_dec is not None:
        nearest, cosine = nearest_decoder(np.asarray(W_dec), n_active > 0)
    table["max_decoder_cosine"] = cosine
    table["nearest_feature"] = nearest
    table["encoder_decoder_cosine"] = (
        np.nan
        if W_dec is None or W_enc is None
        else np.einsum("ij,ij->i", _unit(np.asarray(W_dec)), _unit(np.asarray(W_enc).T)).astype(float)
    )
    return table


def nearest_decoder(W_dec: np.ndarray, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each feature the living one (not itself) of largest |cosine| of decoder rows, and that signed
    cosine.

    Args:
        W_dec: [d_sae, d_in]. alive: bool [d_sae].

    Returns:
        int32 [d_sae], -1 where no living feature has a direction; float64 [d_sae], NaN there. A feature
        whose own decoder row is zero has none either. Computed in blocks of rows: memory stays at about 16
        MB.
    """
    d_sae = len(W_dec)
    unit = _unit(W_dec)
    candidates = np.flatnonzero(alive & np.isfinite(unit[:, 0] if unit.shape[1] else np.zeros(d_sae)))
    nearest, cosine = np.full(d_sae, -1, np.int32), np.full(d_sae, np.nan)
    if not len(candidates):
        return nearest, cosine
    others = np.ascontiguousarray(unit[candidates].T)
    place = np.full(d_sae, -1)
    place[candidates] = np.arange(len(candidates))
    step = max(1, _BLOCK_ENTRIES // len(candidates))
    for start in range(0, d_sae, step):
        stop = min(start + step, d_sae)
        block = unit[start:stop] @ others
        own = place[start:stop]
        block[np.flatnonzero(own >= 0), own[own >= 0]] = np.nan  # not its own neighbour
        strength = np.where(np.isnan(block), -1.0, np.abs(block))
        best = strength.argmax(axis=1)
        line = np.arange(stop - start)
        found = strength[line, best] >= 0
        nearest[start:stop] = np.where(found, candidates[best], -1)
        cosine[start:stop] = np.where(found, np.clip(block[line, best], -1, 1), np.nan)
    return nearest, cosine


def _unit(rows: np.ndarray) -> np.ndarray:
    """float32 rows of length 1; a zero row becomes NaN."""
    rows = np.asarray(rows, np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return rows / np.where(norms > 0, norms, np.nan)


def _statistics(
    codes: FeatureActivations, first: int, last: int, split: np.ndarray | None, number: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What `feature_table` says of the activations of features first to last.

    Args:
        split: int8 [n_rows], 1 for train and 2 for validation; None counts every row as train.
        number: int [n_rows], of each row's example from 0; None leaves `n_examples` at 0.
    """
    bounds = codes.feature_indptr[first : last + 1]
    span = slice(bounds[0], bounds[-1])
    rows, values, indptr = codes.feature_rows[span], codes.feature_values[span], bounds - bounds[0]
    n_active = np.diff(indptr)
    size = np.abs(values)
    largest = segment_maxima(size, indptr)
    owner = np.repeat(np.arange(last - first), n_active)
    hits = np.flatnonzero(size == largest[owner])[::-1]  # reversed: the first of equal ones is written last
    top = np.full(last - first, -1, np.int32)
    top[owner[hits]] = rows[hits]
    if split is None:
        n_train, n_validation = n_active, np.zeros(last - first, np.int64)
    else:
        here = split[rows]
        n_train, n_validation = (segment_sums((here == name).astype(np.int64), indptr) for name in (1, 2))
    with np.errstate(invalid="ignore"):  # 0 / 0 of a dead feature: NaN is meant
        return {
            "n_train": n_train,
            "n_validation": n_validation,
            "mean_size": segment_sums(size.astype(np.float64), indptr) / n_active,
            "largest": largest,
            "mean_signed": segment_sums(values.astype(np.float64), indptr) / n_active,
            "top_row": top,
            "n_examples": np.zeros(last - first, np.int64)
            if number is None
            else _distinct(owner, number[rows], n_active),
        }


def _distinct(owner: np.ndarray, number: np.ndarray, n_active: np.ndarray) -> np.ndarray:
    """How many different examples each feature has, from the feature and example of each entry."""
    n_examples = int(number.max(initial=0)) + 1
    keys = owner * n_examples + number
    if (np.diff(keys) < 0).any():  # rows that are not ordered by example
        keys.sort()
    new = np.ones(len(keys), bool)
    new[1:] = np.diff(keys) > 0
    return np.bincount(keys[new] // n_examples, minlength=len(n_active))
