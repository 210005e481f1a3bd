"""How far other features take over what a letter's own features should say (SAEBench, `feature_absorption_calculator`).

For a word whose letter the probe sees: p = x·w for the probe's unit direction w; feature j's part is f_j cos(w, d_j).

- Full absorption: no main feature of the letter fires, the feature with the largest part has a cosine of at least 0.025
  with the probe, and its part is at least 0.4 of p.
- Absorption fraction: of the others with a cosine of at least 0.1 and a part above 0, the three largest parts are a. It
  is 0 if the main features' parts m reach p, or a is below 0.4 of p; 1 if m <= 0; else b / (b + m) with
  b = min(a, p - m).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FULL_COSINE = 0.025
FRACTION_COSINE = 0.1
PROPORTION = 0.4
MOST_ABSORBERS = 3
_SILENT = 1e-8


class Absorbed(NamedTuple):
    """Of n words: the absorption fraction float64 [n], whether it is full absorption bool [n]."""

    fraction: np.ndarray
    full: np.ndarray


def absorbed(x: np.ndarray, codes: np.ndarray, probe: np.ndarray, decoder: np.ndarray, main: list[int]) -> Absorbed:
    """The definitions of the module's head.

    Args:
        x: [n, d_in], states.
        codes: [n, d_sae], feature activations in units of unit decoder directions.
        probe: [d_in].
        decoder: [d_sae, d_in].
        main: the letter's own features.
    """
    direction = probe / np.linalg.norm(probe)
    cosines = decoder @ direction / np.maximum(np.linalg.norm(decoder, axis=1), 1e-8)
    parts, whole = codes * cosines, x @ direction
    of_main = parts[:, main].sum(axis=1)
    others = np.where((cosines >= FRACTION_COSINE) & (parts > 0), parts, 0.0)
    others[:, main] = 0
    most = min(MOST_ABSORBERS, others.shape[1])
    taken = np.partition(others, others.shape[1] - most, axis=1)[:, -most:].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        little = (of_main >= whole) | (taken / whole < PROPORTION)
        share = np.minimum(taken, whole - of_main)
        fraction = np.where(of_main <= 0, 1.0, np.clip(share / (share + of_main), 0, 1))
        top = parts.argmax(axis=1)
        rows = np.arange(len(x))
        full = (codes[:, main] < _SILENT).all(axis=1) & (cosines[top] >= FULL_COSINE) & (whole >= 0)
        full &= ~(parts[rows, top] / whole < PROPORTION)
    return Absorbed(np.where(little, 0.0, fraction), full)
