"""Orthogonality of the most alike pairs of features: select pairs of a batch, and penalise how alike they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from sae.objectives.mechanism import Mechanism, Seen, scalars
from sae.objectives.pair_fraction import Taken
from sae.objectives.pair_loss import mean_over, pair_loss
from sae.objectives.pair_stability import PairStability
from sae.objectives.pair_threshold import PairThreshold
from sae.objectives.similarity import Found, most_alike, vectors_of, with_gradient
from sae.objectives.tau import Tau


class Orthogonality(Mechanism):
    """`weight` · mean over the selected pairs of a loss of their similarity (`sae.objectives.pair_loss`).

    Selection is exact and made anew in every step; gradients are taken for selected pairs alone.

    Args:
        similarity: `sae.objectives.similarity`.
        select: how many pairs at a step (from 0), or a threshold that says it.
    """

    def __init__(
        self,
        loss: str,
        weight: float,
        similarity: str,
        select: Callable[[int], Taken] | PairThreshold,
        fraction: Callable[[int], float],
        tau: Tau,
        stability: PairStability,
    ) -> None:
        self.loss, self.weight, self.similarity = loss, weight, similarity
        self.select, self.fraction, self.tau, self.stability = select, fraction, tau, stability
        # last: loss, pairs, features touched, mean similarity, share of pairs; all: steps with a pair that costs
        # something, steps, pairs
        self.counts = scalars(0, 0, 0, 0, 0, 0, 0, 0)

    def penalty(self, seen: Seen, W_dec: Tensor) -> Tensor:
        vectors = vectors_of(self.similarity, seen.code, W_dec)
        found, taken = self._selected(vectors.detach(), seen.step)
        chosen = found.head(taken.pairs)
        tau = self.tau.move(found, float(mean_over(chosen.similarity, taken.entries)))
        value = pair_loss(self.loss, with_gradient(self.similarity, vectors, chosen), tau, taken.entries)
        self._count(chosen, float(value.detach()), seen.step)
        return self.weight * value

    def _selected(self, vectors: Tensor, step: int) -> tuple[Found, Taken]:
        d_sae = len(vectors)
        if isinstance(self.select, PairThreshold):
            found = most_alike(self.similarity, vectors, self.select.most(d_sae))
            return found, self.select.taken(found)
        taken = self.select(step)
        return most_alike(self.similarity, vectors, taken.pairs), taken

    def _count(self, chosen: Found, value: float, step: int) -> None:
        n = len(chosen.first)
        touched = torch.cat([chosen.first, chosen.second]).unique()
        mean = float(chosen.similarity.mean()) if n else 0.0
        share = n / chosen.pairs if isinstance(self.select, PairThreshold) else self.fraction(step)
        self.counts[:5] = torch.tensor([value, n, len(touched), mean, share])
        self.counts[5:] += torch.tensor([value > 0, 1, n])
        self.stability.add((chosen.first * chosen.d_sae + chosen.second).cpu().numpy().astype(np.int64))

    def figures(self) -> dict[str, float]:
        value, n, touched, mean, share, *_ = self.counts.tolist()
        found = {
            "orthogonality_loss": value,
            "tau": self.tau.value,
            "pair_fraction": share,
            "pairs_selected": n,
            "pair_features": touched,
            "pair_similarity": mean,
        }
        if isinstance(self.select, PairThreshold):
            found["pair_threshold"] = float(self.select.value)
        return {**found, **self.stability.figures()}

    def summary(self) -> dict[str, float]:
        *_, penalised, steps, pairs = self.counts.tolist()
        return {
            "orthogonality_steps": penalised,
            "pairs_selected_mean": pairs / steps if steps else 0.0,
            "tau_changes": self.tau.changes,
            "tau_final": self.tau.value,
            **self.stability.summary(),
        }

    def held(self) -> dict[str, Tensor]:
        threshold = {"threshold": self.select.value} if isinstance(self.select, PairThreshold) else {}
        return {"counts": self.counts, "tau": self.tau.state, **threshold, **self.stability.held()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.counts.copy_(state["counts"])
        self.tau.restore(state)
        self.stability.restore(state)
        if isinstance(self.select, PairThreshold):
            self.select.restore(state)
