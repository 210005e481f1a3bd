"""Which rows to show for a feature: the strongest, other strata, rows where it is silent; and labels' base
rates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError

# stratum -> bounds: shares of the active examples below (quantile), or of the way from weakest to strongest
# (width)
BANDS = {
    "quantile": {"near_top": (0.9, 1.0), "middle": (0.5, 0.9), "lower": (0.0, 0.5)},
    "width": {"near_top": (2 / 3, 1.0), "middle": (1 / 3, 2 / 3), "lower": (0.0, 1 / 3)},
}
STRATA = ("top", "near_top", "middle", "lower", "random", "near_miss", "not_active")
LEAST_SUPPORT = 20


def stratum_title(stratum: str, bands: str = "quantile") -> str:
    """A stratum's name as a page prints it."""
    words = {
        "top": "Highest activations",
        "random": "Random active",
        "near_miss": "Nearly active",
        "not_active": "Not active",
    }
    if stratum in words:
        return words[stratum]
    low, high = BANDS[bands][stratum]
    name = {"near_top": "Near the top", "middle": "Middle", "lower": "Lower"}[stratum]
    unit = "percentile" if bands == "quantile" else "% of the range"
    return f"{name} ({low * 100:.0f} to {high * 100:.0f} {unit})"


def feature_examples(
    codes: FeatureActivations,
    feature: int,
    *,
    example: np.ndarray | None = None,
    position: np.ndarray | None = None,
    per_stratum: int = 10,
    bands: str = "quantile",
    one_per_example: bool = True,
    pre_activation: np.ndarray | None = None,
    keep: np.ndarray | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows for a feature's card, by stratum; strength is |activation|.

    Strata in this order: `top` (the strongest), `near_top`, `middle` and `lower` (a random draw from each
    band, rows already in `top` left out), `random` (an unbiased draw from all active, so it may repeat rows
    of the others), and `not_active`: rows with no activation, from examples on which the feature is silent
    throughout, drawn so that their positions are spread as those of the active rows. With `pre_activation`
    the silent rows that came nearest stand there as `near_miss` instead.

    Args:
        example: int [n_rows]; None: every row is its own example.
        position: int [n_rows], to match silent rows to active ones; None: any position.
        per_stratum: at most so many rows in each.
        bands: "quantile" (true quantiles of the strengths) or "width" (equal widths between weakest and
            strongest).
        one_per_example: an example stands for itself once, by its strongest row.
        pre_activation: float [n_rows], what the feature read before the selection, if it is known.
        keep: bool [n_rows], the rows to draw from (problems answered wrong, say); None: all.

    Returns:
        row, example, activation (signed), stratum; within a stratum by falling strength (silent rows by
        falling |pre-activation|, or in the order drawn).

    Raises:
        UserError: for an unknown feature or bands, or arguments that don't fit the rows.
    """
    if bands not in BANDS:
        raise UserError(f"examples are divided by {' or '.join(BANDS)}, not {bands!r}")
    given_by_row = {"example": example, "position": position, "pre_activation": pre_activation, "keep": keep}
    for name, given in given_by_row.items():
        if given is not None and np.shape(given) != (codes.n_rows,):
            raise UserError(f"{name} has shape {np.shape(given)}; these activations have {codes.n_rows} rows")
    rows, values = codes.feature(feature)
    everywhere = rows  # where it fires at all: an example is silent only if none of its rows is among them
    if keep is not None:
        wanted = np.asarray(keep, bool)[rows]
        rows, values = rows[wanted], values[wanted]
    owner = np.arange(codes.n_rows) if example is None else np.asarray(example)
    rng = np.random.default_rng(seed)
    order = np.lexsort((rows, -np.abs(values)))  # strongest first, ties by row
    if one_per_example:
        order = order[np.sort(np.unique(owner[rows[order]], return_index=True)[1])]
    active, signed = rows[order], values[order]
    strength = np.abs(signed)

    chosen: list[tuple[str, np.ndarray, np.ndarray]] = [("top", active[:per_stratum], signed[:per_stratum])]
    free = np.arange(len(active)) >= per_stratum
    for stratum, (low, high) in BANDS[bands].items():
        if not len(active):
            break
        inside = np.flatnonzero(free & _in_band(strength, low, high, bands))
        drawn = np.sort(rng.choice(inside, min(per_stratum, len(inside)), replace=False))
        chosen.append((stratum, active[drawn], signed[drawn]))
    drawn = np.sort(rng.choice(len(active), min(per_stratum, len(active)), replace=False))
    chosen.append(("random", active[drawn], signed[drawn]))
    silent = _silent(codes, everywhere, owner, position, per_stratum, one_per_example, pre_activation, keep, rng)
    name = "not_active" if pre_activation is None else "near_miss"
    chosen.append((name, silent, np.zeros(len(silent), np.float32)))
    return pd.DataFrame(
        {
            "row": np.concatenate([part for _, part, _ in chosen]).astype(np.int64),
            "example": owner[np.concatenate([part for _, part, _ in chosen]).astype(np.int64)],
            "activation": np.concatenate([part for _, _, part in chosen]).astype(np.float32),
            "stratum": np.repeat([name for name, _, _ in chosen], [len(part) for _, part, _ in chosen]),
        }
    )


def token_values(codes: FeatureActivations, feature: int, rows: np.ndarray) -> np.ndarray:
    """float32 [len(rows)]: the feature's activation on each of `rows` (an example's tokens, say), 0 where
    silent.

    Raises:
        UserError: if there is no such feature.
    """
    active, values = codes.feature(feature)
    rows = np.asarray(rows, np.int64)
    if not len(active):
        return np.zeros(len(rows), np.float32)
    place = np.minimum(np.searchsorted(active, rows), len(active) - 1)
    return np.where(active[place] == rows, values[place], np.float32(0))


def base_rates(
    codes: FeatureActivations,
    feature: int,
    labels: pd.DataFrame,
    *,
    example: np.ndarray | None = None,
    least: int = LEAST_SUPPORT,
    most_values: int = 12,
    level: float = 0.95,
) -> pd.DataFrame:
    """How often each label goes with the feature, beside how often it occurs at all.

    The unit is the example: one counts as active if the feature fires on any of its rows. A missing label
    is left out of both counts. A cell that holds a list counts for each of its items. Columns with more
    than `most_values` different values are left out (an identifier, a text).

    Args:
        labels: one line an example, in the order of its number in `example`; without `example` one line a
            row.
        least: below this many active examples the share is refused: `enough` is False, share and interval
            are NaN.

    Returns:
        label (column), value, n_active, n_active_with, share (among the active), low, high (Wilson interval),
        n, n_with, base_rate (among all), difference (share - base_rate), enough.

    Raises:
        UserError: for an unknown feature, or labels that don't fit the rows or examples.
    """
    rows, _ = codes.feature(feature)
    if example is None:
        owner, present = np.arange(codes.n_rows), np.ones(len(labels), bool)
        fits = len(labels) == codes.n_rows
    else:
        owner = np.asarray(example)
        fits = owner.shape == (codes.n_rows,) and (not len(owner) or 0 <= owner.min() <= owner.max() < len(labels))
        present = np.zeros(len(labels), bool)
        if fits:
            present[owner] = True  # an example without a row here could not have been active
    if not fits:
        raise UserError(f"{len(labels)} lines of labels don't fit the rows of these activations")
    active = np.zeros(len(labels), bool)
    active[owner[rows]] = True

    lines = []
    for label in labels.columns:
        column = labels[label].reset_index(drop=True)
        known, having = _cells(column, present, most_values)
        for value in sorted(having, key=lambda item: (str(type(item)), item)):
            has = having[value]
            n_active, n_with = int((known & active).sum()), int(has.sum())
            lines.append((label, value, n_active, int((has & active).sum()), int(known.sum()), n_with))
    table = pd.DataFrame(lines, columns=["label", "value", "n_active", "n_active_with", "n", "n_with"])
    enough = (table["n_active"] >= least).to_numpy()
    low, high = wilson(table["n_active_with"].to_numpy(), table["n_active"].to_numpy(), level)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(enough, table["n_active_with"] / table["n_active"], np.nan)
    base = (table["n_with"] / table["n"]).astype(float)
    table = table.assign(
        share=share,
        low=np.where(enough, low, np.nan),
        high=np.where(enough, high, np.nan),
        base_rate=base,
        difference=share - base,
        enough=enough,
    )
    order = ["label", "value", "n_active", "n_active_with", "share", "low", "high"]
    return table[[*order, "n", "n_with", "base_rate", "difference", "enough"]]


def _cells(column: pd.Series, present: np.ndarray, most: int) -> tuple[np.ndarray, dict[Any, np.ndarray]]:
    """Which lines have a label, bool [n], and by value which have that one; {} for none or more than `most` values."""
    if column.dtype != object:  # no cell is a list: whole columns are compared at once
        known = column.notna().to_numpy() & present
        values = column[known].unique().tolist()
        if not 0 < len(values) <= most:
            return known, {}
        return known, {value: (column == value).fillna(False).to_numpy(bool) & known for value in values}
    is_list = column.map(lambda cell: isinstance(cell, list | tuple | set | np.ndarray)).to_numpy(bool)
    known = (is_list | column.notna().to_numpy()) & present
    cells = [set(cell) if several else {cell} for cell, several in zip(column[known], is_list[known], strict=True)]
    found = set().union(*cells)
    if not 0 < len(found) <= most:
        return known, {}
    having = {}
    for value in found:
        has = np.zeros(len(column), bool)
        has[np.flatnonzero(known)] = [value in cell for cell in cells]
        having[value] = has
    return known, having


def wilson(successes: np.ndarray, n: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of a share (Wilson 1927); NaN where n is 0."""
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1 + level) / 2)
    successes, n = np.asarray(successes, float), np.asarray(n, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = successes / n
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def _in_band(strength: np.ndarray, low: float, high: float, bands: str) -> np.ndarray:
    """bool, which strengths (falling) lie in the band; a band owns its upper edge, the lowest also its
    lower one.
    """
    if bands == "quantile":
        below, above = np.quantile(strength, [low, high])
    else:
        weakest, strongest = float(strength[-1]), float(strength[0])
        below, above = (weakest + share * (strongest - weakest) for share in (low, high))
    inside = (strength > below) if low > 0 else np.ones(len(strength), bool)
    return inside & (strength <= above) if high < 1 else inside


def _silent(
    codes: FeatureActivations,
    rows: np.ndarray,
    owner: np.ndarray,
    position: np.ndarray | None,
    count: int,
    one_per_example: bool,
    pre_activation: np.ndarray | None,
    keep: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Up to `count` rows without an activation, from examples without one where there is a choice of one
    per example.
    """
    silent = np.ones(codes.n_rows, bool) if keep is None else np.array(keep, bool)
    silent[rows] = False
    if one_per_example:
        silent &= ~np.isin(owner, owner[rows])
    candidates = np.flatnonzero(silent)
    if pre_activation is not None:
        order = np.argsort(-np.abs(np.asarray(pre_activation)[candidates]), kind="stable")
    else:
        weights = np.ones(len(candidates))
        if position is not None and len(rows) and len(candidates):
            known, number = np.unique(np.asarray(position), return_inverse=True)
            wanted = np.bincount(number[rows], minlength=len(known))
            here = np.bincount(number[candidates], minlength=len(known))
            weights = (wanted / np.maximum(here, 1))[number[candidates]]
        if not weights.any():  # nothing silent stands where the feature fires
            weights = np.ones(len(candidates))
        # the order of -log(u) / w is a weighted draw without replacement (Efraimidis and Spirakis 2006)
        with np.errstate(divide="ignore"):
            keys = rng.exponential(size=len(candidates)) / weights
        order = np.argsort(keys, kind="stable")
        order = order[np.isfinite(keys[order])]
    if one_per_example:
        order = order[np.sort(np.unique(owner[candidates[order]], return_index=True)[1])]
    return candidates[order[:count]]
