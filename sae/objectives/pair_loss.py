"""What the similarities of selected pairs cost, as a mean over them.

- `hinge`: relu(C - tau)²; `linear`: relu(C - tau); `plain`: C²; `tau_weight`: tau · C, where tau is a weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOSSES = ("hinge", "linear", "plain", "tau_weight")


def pair_loss(kind: str, similarity: Tensor, tau: float, entries: int | None = None) -> Tensor:
    """Of similarities [n], the largest first; 0 where there are none.

    Args:
        entries: see `sae.objectives.pair_fraction.Taken`.
    """
    if kind == "plain":
        terms = similarity.square()
    elif kind == "tau_weight":
        terms = tau * similarity
    else:
        terms = (similarity - tau).relu()
        terms = terms.square() if kind == "hinge" else terms
    return mean_over(terms, entries)


def mean_over(terms: Tensor, entries: int | None = None) -> Tensor:
    """Mean of terms [n] of pairs; over entries of the symmetric matrix where they are counted. Pairs that were not
    found have terms of 0.
    """
    if entries is None:
        return terms.sum() / max(1, len(terms))
    weights = torch.full_like(terms, 2.0)
    if entries % 2 and len(terms) == (entries + 1) // 2:
        weights[-1] = 1.0
    return (weights * terms).sum() / max(1, entries)
