"""Spurious correlation removal (SCR) and targeted probe perturbation (TPP): what features can be switched off for.

Linear probes are trained on the activations. Features are ranked by their effect on a probe w on training units,
(mean where the label is - mean elsewhere) <w, d_j>, for SCR by its size, for TPP with the difference cut off at 0; the
N first are set to 0 and the SAE's error is kept, x' = x - Σ f_j d_j, and the probes are asked again on test units.
Everything is linear in codes, so codes pooled over a text's tokens give what ablating each token would.

TPP (N) = mean over classes c of [A_c - A_c,abl(c)] - mean over c' != c of [A_c' - A_c',abl(c)].
SCR (N) = (A_abl - A_base) / (A_clean - A_base): a probe of two labels that always come together is asked for one of
them where they don't (A_base); A_clean is that of a probe trained for it, A_abl of the first with the features of the
other label switched off. Formulas: Karvonen et al. 2024; SAEBench 0.6.0, evals/scr_and_tpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NS = (2, 5, 10, 20, 50, 100, 500)


def effects(codes: Any, y: np.ndarray, along: np.ndarray, *, both_signs: bool) -> np.ndarray:
    """Effect [d_sae] of every feature on a probe.

    Args:
        codes: CSR [n_train, d_sae]. y: bool [n_train]. along: [d_sae], <w, d_j>.
        both_signs: the size of the effect counts (SCR), else only what is more active where `y` is (TPP).
    """
    selector = y / max(y.sum(), 1) - ~y / max((~y).sum(), 1)
    difference = np.asarray(codes.T @ selector).reshape(-1)
    return np.abs(difference * along) if both_signs else np.maximum(difference, 0) * along


def ranked(effect: np.ndarray, most: int) -> np.ndarray:
    """Features of the largest effects, falling; those without any are left out."""
    order = np.argsort(-effect, kind="stable")
    return order[effect[order] != 0][:most]


def ablated(eta: np.ndarray, codes: Any, along: np.ndarray, order: np.ndarray, ns: Sequence[int]) -> np.ndarray:
    """Linear predictors [len(ns), n] after the N first features of `order` are set to 0, or all if there are fewer.

    Args:
        eta: [n], as they are. codes: CSR [n, d_sae]. along: [d_sae], <w, d_j>.
    """
    if not len(order):
        return np.tile(eta, (len(ns), 1))
    taken = np.cumsum(codes[:, order].toarray() * along[order], axis=1)
    return np.stack([eta - taken[:, min(n, len(order)) - 1] for n in ns])
