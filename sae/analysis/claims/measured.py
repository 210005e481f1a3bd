"""What was measured here, as the checks read it: tables of one experiment under one preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Ablation:
    """An experiment that ablates something, as checks read it.

    `runs`: a line a finished run with its factors, the metrics of one split (`split`), `dead_all` and `dense_all` (on
    all rows), `loss_spikes`, `gradient_norm_cv` and `diverged` (0 or 1) of its training, and what measurements found of
    it, with the measurement's kind before: `concepts_label_f1`, `equal_bits_recall`.
    """

    experiment: str
    kind: str
    split: str
    factors: tuple[str, ...]
    baseline: dict[str, Any]
    matched: str
    runs: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Measured:
    """Tables of an experiment's finished runs.

    `runs`: a line a run and split: id, split, k, d_sae, seed, preset, and the metrics. `intervals`: id,
    split, metric, low, high. `baselines`: id, split, baseline, ev_total, ev_flat. `times`: id,
    train_seconds, device_name. `norms`: id, low, high (smallest and largest decoder norm of the living
    features). `runs` holds every preset of the experiment; `preset` is the one that the claims are held
    against.
    """

    experiment: str
    preset: str
    about: str
    """Which activations these are, for people."""
    setting: dict[str, float | None]
    """d_in, layer, position, n_rows of the slice."""
    runs: pd.DataFrame
    intervals: pd.DataFrame = field(default_factory=pd.DataFrame)
    baselines: pd.DataFrame = field(default_factory=pd.DataFrame)
    times: pd.DataFrame = field(default_factory=pd.DataFrame)
    norms: pd.DataFrame = field(default_factory=pd.DataFrame)
    ablations: Mapping[str, Ablation] = field(default_factory=dict)
    """By kind: the experiment itself, and the newest ones of the document's other kinds on the same activations."""
    _cells: dict[tuple[str, str, str], pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _parts(self) -> dict[tuple[str, str], pd.DataFrame]:
        active = self.runs.assign(active=(1 - self.runs["dead"]) * self.runs["d_sae"])
        return {(str(preset), str(split)): lines for (preset, split), lines in active.groupby(["preset", "split"])}

    def lines(self, split: str, preset: str | None = None) -> pd.DataFrame:
        """The runs of one preset on one split, a line each, with `active`: how many features ever fire."""
        return self._parts.get((preset or self.preset, split), self.runs.iloc[:0])

    def cells(self, metric: str, split: str, preset: str | None = None) -> pd.DataFrame:
        """Means over seeds: k, d_sae, `metric`, n (seeds). Cells without a value are left out."""
        key = (metric, split, preset or self.preset)
        if key not in self._cells:
            self._cells[key] = self._means(metric, split, preset)
        return self._cells[key]

    def _means(self, metric: str, split: str, preset: str | None) -> pd.DataFrame:
        lines = self.lines(split, preset)
        if lines.empty or metric not in lines:
            return pd.DataFrame({"k": [], "d_sae": [], metric: [], "n": []})
        grouped = lines.dropna(subset=[metric]).groupby(["k", "d_sae"])[metric].agg(["mean", "count"]).reset_index()
        return grouped.rename(columns={"mean": metric, "count": "n"})

    def interval(self, metric: str, split: str, k: int, d_sae: int) -> tuple[float, float] | None:
        """Student's t at 95 % over the cell's seeds; for one seed its bootstrap interval over examples, if
        any.
        """
        lines = self.lines(split)
        cell = lines[(lines["k"] == k) & (lines["d_sae"] == d_sae)]
        values = cell[metric].dropna().to_numpy(float)
        if len(values) > 1:
            return t_interval(values)
        found = self.intervals
        if len(values) and len(found):
            hit = found[(found["id"] == cell["id"].iloc[0]) & (found["split"] == split) & (found["metric"] == metric)]
            if len(hit):
                return float(hit["low"].iloc[0]), float(hit["high"].iloc[0])
        return None

    def run_of(self, k: int, d_sae: int) -> str | None:
        """The first run of a cell under the preset."""
        chosen = self.runs[self.runs["preset"] == self.preset]
        hit = chosen[(chosen["k"] == k) & (chosen["d_sae"] == d_sae)]
        return None if hit.empty else str(hit["id"].iloc[0])


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of [n] values, n > 1."""
    from scipy.stats import t

    half = t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
