"""Pruning by correlation: of two features that fire alike, one is started anew.

Every `window` steps Pearson's r is taken between all features over rows of all those steps
(`sae.objectives.code_sample`). Pairs with |r| above the threshold are gone through, the most alike first: of a pair
that both are still there, the less important feature is pruned if |r| is also above its own threshold,

    min(0.99, threshold · (1 + 0.25 p))

with p the share of living features that are less important; those with p >= 0.75 are protected. Without a tracked
importance, the mean activation over the window says which of the two is less important, and nothing is protected.
A pruned feature starts anew in a random direction less its part in the span of the 16 kept features that it was most
correlated with, with the mean encoder norm of those that are kept, bias 0, and no moments.

Literal, as it was coded: one batch; every feature with max_j |r_ij| > threshold · (1 + p_i) is pruned, both members of
a pair among them; random directions; importance moves at checks alone and restarts at the mean; the moments stay. As
|r| <= 1, nothing with p above 1 / threshold - 1 is ever pruned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sae.objectives.code_sample import CodeSample, pearson_measure
from sae.objectives.importance import Importance
from sae.objectives.mechanism import Features, Mechanism, Seen, scalars
from sae.objectives.similarity import Measure, most_alike
from sae.objectives.sparse_gram import Entries, scan, strongest

PROTECTED = 0.75
AVOIDED = 16  # kept features whose span a new direction avoids
PAIRS = 64  # of each feature that are looked at, on average


class Pruning(Mechanism):
    """See above.

    Args:
        importance: momentum of the tracked importance; None: it is not tracked.
        seed: of the new directions.
    """

    def __init__(
        self,
        d_sae: int,
        threshold: float,
        window: int,
        importance: float | None,
        seed: int,
        device: torch.device,
        literal: bool = False,
    ) -> None:
        self.d_sae, self.threshold, self.window, self.seed = d_sae, threshold, window, seed
        self.literal = literal
        self.importance = None if importance is None else Importance(d_sae, importance, device)
        self.sample = CodeSample(d_sae, window)
        self.counts = scalars(0, 0, 0)  # checks, pruned, protected

    def act(self, seen: Seen, features: Features) -> Tensor | None:
        due = (seen.step + 1) % self.window == 0
        if self.importance is not None and (due or not self.literal):
            self.importance.add(seen.code)
        if not self.literal:
            self.sample.add(seen.code, seen.step)
        if not due:
            return None
        self.counts[0] += 1
        if self.literal:
            which, avoided = self._literal(seen.code), None
        else:
            which, avoided = self._redundant()
            self.sample.clear()
        if not len(which):
            return None
        self.counts[1] += len(which)
        self._restart(which, avoided, seen, features)
        return which

    def _redundant(self) -> tuple[Tensor, np.ndarray]:
        """Features to be pruned, and for each the kept ones that it is most correlated with, [n, 16] (-1: none)."""
        entries = self.sample.entries()
        measure = pearson_measure(entries)
        given = (entries, measure.scale.numpy(), measure.offset.numpy())
        keep = min(PAIRS * self.d_sae, self.d_sae * (self.d_sae - 1) // 2)
        size, pair, *_ = scan(0, self.d_sae, *given, True, self.threshold, max(1, keep))
        order = np.argsort(-size, kind="stable")
        if self.importance is not None:
            worth, share = self.importance.value.cpu().numpy(), self.importance.percentiles().cpu().numpy()
        else:
            worth, share = np.abs(measure.mean.numpy()), np.zeros(self.d_sae)
        gone = np.zeros(self.d_sae, bool)
        for number in order:
            i, j = divmod(int(pair[number]), self.d_sae)
            if gone[i] or gone[j]:
                continue
            less = i if worth[i] < worth[j] else j
            if share[less] >= PROTECTED:
                self.counts[2] += 1
            elif size[number] > min(0.99, self.threshold * (1 + 0.25 * share[less])):
                gone[less] = True
        which = gone.nonzero()[0]
        return torch.from_numpy(which), _kept_neighbours(which, gone, entries, measure)

    def _literal(self, code: Tensor) -> Tensor:
        n = len(code)
        share = torch.zeros(self.d_sae, device=code.device)
        if self.importance is not None:
            value = self.importance.value
            share = torch.searchsorted(value.sort().values, value) / self.d_sae
        # The code divided by a sample standard deviation and took a mean over n: r · (n - 1) / n.
        found = most_alike("act_pearson", code.T, self.d_sae * (self.d_sae - 1) // 2, True, self.threshold)
        size = found.similarity * (n - 1) / n
        largest = torch.zeros_like(share)
        for side in (found.first, found.second):
            largest.scatter_reduce_(0, side, size, "amax")
        return (largest > self.threshold * (1 + share)).nonzero()[:, 0]

    def _restart(self, which: Tensor, avoided: np.ndarray | None, seen: Seen, features: Features) -> None:
        W_dec = features.weights["W_dec"]
        which = which.to(W_dec.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen.step)
        directions = torch.randn(len(which), W_dec.shape[1], generator=generator)
        if avoided is not None:
            rows = W_dec.cpu()
            for number, others in enumerate(avoided):
                span = rows[torch.from_numpy(others[others >= 0])]
                directions[number] -= _projected(directions[number], span)
        kept = torch.ones(self.d_sae, dtype=torch.bool, device=W_dec.device)
        kept[which] = False
        norm = float(features.encoder_norms[kept].mean()) if bool(kept.any()) else 1.0
        features.redraw(which, directions.to(W_dec.device), norm, forget=not self.literal)

    def redrawn(self, which: Tensor) -> None:
        if self.importance is not None:
            kept = torch.ones(self.d_sae, dtype=torch.bool, device=which.device)
            kept[which] = False
            others = kept if self.literal else kept & (self.importance.value > 0)
            self.importance.restart(which, others, self.literal)

    def figures(self) -> dict[str, float]:
        return {"pruned": float(self.counts[1])}

    def summary(self) -> dict[str, float]:
        checks, pruned, protected = self.counts.tolist()
        tracked = {"prune_protected": protected} if self.importance is not None else {}
        return {"prune_checks": checks, "pruned": pruned, **tracked, "prune_window": float(self.window)}

    def held(self) -> dict[str, Tensor]:
        tracked = {"importance": self.importance.value} if self.importance is not None else {}
        return {"counts": self.counts, **tracked, **self.sample.held()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.counts.copy_(state["counts"])
        self.sample.restore(state)
        if self.importance is not None:
            self.importance.value.copy_(state["importance"])


def _kept_neighbours(which: np.ndarray, gone: np.ndarray, entries: Entries, measure: Measure) -> np.ndarray:
    """For each of `which`, the 16 kept features with the largest |r|, [n, 16] (-1: none)."""
    weights = np.ones(len(entries.row_start) - 1)
    return strongest(which, entries, weights, ~gone, measure.scale.numpy(), measure.offset.numpy(), AVOIDED)[0]


def _projected(direction: Tensor, rows: Tensor) -> Tensor:
    """The part of a direction [d_in] in the span of rows [m, d_in]."""
    if not len(rows):
        return torch.zeros_like(direction)
    basis = torch.linalg.svd(rows.double(), full_matrices=False)
    kept = basis.Vh[1e-6 * basis.S.max().clamp_min(1e-30) < basis.S]
    if len(kept) >= len(direction):  # they span everything: there is nothing outside of them
        return torch.zeros_like(direction)
    return (kept.T @ (kept @ direction.double())).float()
