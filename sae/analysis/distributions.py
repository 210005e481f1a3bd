"""Counts of activations, by row, by feature and within a feature, as tables that figures can draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.analysis.codes import FeatureActivations

ULTRA_LOW, RARE, DENSE = 1e-4, 1e-2, 0.5
_MOST_SAMPLED = 4096


@dataclass(frozen=True)
class ActivePerRow:
    """How many features are active on a row. `table`: active (0 to the most), rows. `sd` is over all rows."""

    table: pd.DataFrame
    n_rows: int
    mean: float
    sd: float
    minimum: float
    q25: float
    median: float
    q75: float
    maximum: float


def active_per_row(codes: FeatureActivations, rows: np.ndarray | None = None) -> ActivePerRow:
    """The distribution of L0 over `rows` (all if None). Statistics are NaN without rows."""
    counts = np.diff(codes.row_indptr)
    counts = counts if rows is None else counts[rows]
    table = pd.DataFrame({"rows": np.bincount(counts, minlength=1)})
    table.insert(0, "active", np.arange(len(table)))
    if not len(counts):
        return ActivePerRow(table, 0, *[float("nan")] * 7)
    quartiles = (float(value) for value in np.quantile(counts, [0, 0.25, 0.5, 0.75, 1]))
    return ActivePerRow(table, len(counts), float(counts.mean()), float(counts.std()), *quartiles)


@dataclass(frozen=True)
class RowsPerFeature:
    """On how many rows a feature is active. `table`: low, high (both inclusive, widening bins), features;
    the dead, who have no place on a logarithmic axis, are `n_dead`. `ranked` [living]: the counts in
    falling order."""

    table: pd.DataFrame
    ranked: np.ndarray
    n_rows: int
    n_features: int
    n_dead: int


def rows_per_feature(codes: FeatureActivations, bins_per_decade: int = 8) -> RowsPerFeature:
    """Living features by the number of rows on which they are active, in bins of about equal width on a log
    axis.
    """
    counts = np.sort(codes.n_active[codes.n_active > 0])[::-1]
    most = int(counts[0]) if len(counts) else 1
    decades = np.log10(most + 1)
    edges = np.unique(np.round(np.logspace(0, decades, int(np.ceil(decades * bins_per_decade)) + 1))).astype(int)
    edges = np.unique(np.append(edges, [1, most + 1]))  # integer edges: no bin that no count can fall into
    features, _ = np.histogram(counts, edges)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:] - 1, "features": features})
    return RowsPerFeature(table, counts, codes.n_rows, codes.d_sae, codes.d_sae - len(counts))


@dataclass(frozen=True)
class ActivationHistogram:
    """One feature's activations. `table`: low, high, rows; no bin mixes signs. Zeros stand apart, as
    `n_zero`.
    """

    table: pd.DataFrame
    n_rows: int
    n_active: int
    n_zero: int
    density: float
    minimum: float
    maximum: float


def activation_histogram(
    codes: FeatureActivations, feature: int, fewest: int = 10, most: int = 60
) -> ActivationHistogram:
    """Bins by Freedman and Diaconis (1981), width 2 IQR n^(-1/3), but at least `fewest` and at most `most`
    of them.

    Raises:
        UserError: if there is no such feature.
    """
    _, values = codes.feature(feature)
    values = values.astype(np.float64)
    n, zero = len(values), codes.n_rows - len(values)
    density = n / max(codes.n_rows, 1)
    if not n:
        table = pd.DataFrame({"low": np.empty(0), "high": np.empty(0), "rows": np.empty(0, np.int64)})
        return ActivationHistogram(table, codes.n_rows, 0, zero, density, float("nan"), float("nan"))
    low, high = float(values.min()), float(values.max())
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high)):  # one value: one bin around it
        margin = 0.05 * abs(high)
        edges = np.array([low - margin, high + margin])
    else:
        quarter, three_quarters = np.quantile(values, [0.25, 0.75])
        width = 2 * (three_quarters - quarter) / n ** (1 / 3)
        bins = int(np.clip(np.ceil(span / width) if width > 0 else most, fewest, most))
        edges = np.linspace(low, high, bins + 1)
        if low < 0 < high:  # shift the edges so that one of them is 0
            width = span / bins
            edges = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    rows, _ = np.histogram(values, edges)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "rows": rows})
    return ActivationHistogram(table, codes.n_rows, n, zero, density, low, high)


def density_bands(n_active: np.ndarray, n_rows: int) -> pd.DataFrame:
    """Features by the share of rows on which they are active: band, low, high (shares), features, share (of
    all).

    dead: never; ultra-low: below 1e-4; rare: below 1 %; normal: up to 50 %; dense: above 50 %. With fewer
        than 10,000
    rows no feature can be ultra-low.
    """
    n_active = np.asarray(n_active)
    density = n_active / max(n_rows, 1)
    inside = {
        "dead": (0.0, 0.0, n_active == 0),
        "ultra-low": (0.0, ULTRA_LOW, (n_active > 0) & (density < ULTRA_LOW)),
        "rare": (ULTRA_LOW, RARE, (density >= ULTRA_LOW) & (density < RARE) & (n_active > 0)),
        "normal": (RARE, DENSE, (density >= RARE) & (density <= DENSE)),
        "dense": (DENSE, 1.0, density > DENSE),
    }
    lines = [(name, low, high, int(mask.sum())) for name, (low, high, mask) in inside.items()]
    table = pd.DataFrame(lines, columns=["band", "low", "high", "features"])
    table["share"] = table["features"] / max(len(n_active), 1)
    return table


@dataclass(frozen=True)
class CosineHistogram:
    """Cosines between decoder directions. `table`: low, high, pairs, expected (pairs there would be in each
    bin if the directions were independent and uniform in d_in dimensions)."""

    table: pd.DataFrame
    n_features: int
    sampled: bool
    d_in: int


def decoder_cosines(
    W_dec: np.ndarray, alive: np.ndarray | None = None, bins: int = 80, seed: int = 0
) -> CosineHistogram:
    """All pairs of living decoder rows [d_sae, d_in] by cosine; above 4,096 features a random sample of
    them.
    """
    from scipy.stats import beta

    W_dec = np.asarray(W_dec)
    norms = np.linalg.norm(W_dec, axis=1)
    kept = np.flatnonzero((norms > 0) if alive is None else (norms > 0) & np.asarray(alive, bool))
    sampled = len(kept) > _MOST_SAMPLED
    if sampled:
        kept = np.sort(np.random.default_rng(seed).choice(kept, _MOST_SAMPLED, replace=False))
    unit = (W_dec[kept] / norms[kept, None]).astype(np.float32)
    edges, pairs = np.linspace(-1, 1, bins + 1), np.zeros(bins, np.int64)
    for start in range(0, len(unit), 512):
        block = unit[start : start + 512] @ unit[start:].T
        upper = block[np.triu_indices(len(block), 1, block.shape[1])]
        pairs += np.histogram(np.clip(upper, -1, 1), edges)[0]
    d_in = W_dec.shape[1]
    # (1 + cosine) / 2 of independent uniform directions is Beta((d - 1) / 2, (d - 1) / 2)
    half = max((d_in - 1) / 2, 1e-9)
    expected = np.diff(beta.cdf((1 + edges) / 2, half, half)) * pairs.sum()
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "pairs": pairs, "expected": expected})
    return CosineHistogram(table, len(kept), sampled, d_in)
