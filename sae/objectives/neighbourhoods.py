"""Neighbourhoods that follow co-activation: the features that a feature fires with compete with it.

    A <- m · A + (1 - m) · (co-firing of the batch) / B

Every `window` steps the neighbours of i become the r_i features with the largest A_ij, where r_i follows how much i
fires with others: c_i the mean of its 32 largest A_ij / A_ii, r_i = clip(round(radius · c_i / mean c), 8, 128). Until
the first time, neighbours are those within `radius` by number.

No matrix of all pairs is kept: of A only the 128 largest a feature, and in a window co-firing is counted on some rows
of every step (`sae.objectives.code_sample`), later steps with more weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sae.objectives.code_sample import CodeSample
from sae.objectives.mechanism import Features, Mechanism, Seen, scalars
from sae.objectives.sparse_gram import Entries, strongest

FEWEST, MOST = 8, 128


class Neighbourhoods(Mechanism):
    """Writes `neighbours`, int64 [d_sae, 128], in place: a feature's own number stands where it has none.

    Args:
        neighbours: filled with those within `radius` at the start.
    """

    def __init__(self, neighbours: Tensor, radius: int, window: int, momentum: float) -> None:
        self.neighbours, self.radius, self.window, self.momentum = neighbours, radius, window, momentum
        d_sae = len(neighbours)
        self.sample = CodeSample(d_sae, window)
        self.partners = torch.full((d_sae, MOST), -1, dtype=torch.int64)
        self.together = torch.zeros(d_sae, MOST, dtype=torch.float64)  # A_ij of the partners
        self.alone = torch.zeros(d_sae, dtype=torch.float64)  # A_ii
        self.counts = scalars(0, 0)  # times, mean size

    def act(self, seen: Seen, features: Features) -> None:
        self.sample.add(seen.code, seen.step)
        if (seen.step + 1) % self.window:
            return
        self._gather(seen.step)
        self.sample.clear()
        sizes = self._sizes()
        chosen = self.partners.clone()
        own = torch.arange(len(chosen))[:, None]
        outside = (torch.arange(MOST) >= sizes[:, None]) | (chosen < 0)
        self.neighbours.copy_(torch.where(outside, own, chosen))
        self.counts[0] += 1
        self.counts[1] = float((~outside).sum(1).double().mean())

    def _gather(self, step: int) -> None:
        """Move A by the window's steps."""
        entries, steps = self.sample.entries(bits=True), self.sample.steps
        m = self.momentum
        # A step's mean over its rows weighs (1 - m) m^(steps after it).
        rows_of_step = np.bincount(steps - steps.min())[steps - steps.min()]
        weights = (1 - m) * m ** (step - steps).astype(np.float64) / rows_of_step
        self.alone.mul_(m**self.window).add_(torch.from_numpy(_diagonal(entries, weights, len(self.alone))))
        d = len(self.alone)
        # Twice as many, so that those carried over and those of this window find each other.
        new, counted = strongest(
            np.arange(d), entries, weights, np.ones(d, bool), np.ones(d), np.zeros(d), min(2 * MOST, max(1, d - 1))
        )
        self.partners, self.together = _merged(
            torch.cat([self.partners, torch.from_numpy(new)], 1),
            torch.cat([self.together * m**self.window, torch.from_numpy(counted)], 1),
        )

    def _sizes(self) -> Tensor:
        """r_i, int64 [d_sae]."""
        share = self.together / self.alone.clamp_min(1e-12)[:, None]
        c = share[:, : self.radius].mean(1)
        mean = c.mean()
        sizes = (self.radius * c / mean).round() if mean > 0 else torch.full_like(c, self.radius)
        return sizes.clamp(FEWEST, MOST).long()

    def redrawn(self, which: Tensor) -> None:
        """They have no partners and are none's."""
        which = which.cpu()
        self.partners[which] = -1
        self.together[which] = 0.0
        self.alone[which] = 0.0
        theirs = torch.isin(self.partners, which)
        self.together[theirs] = 0.0
        self.neighbours[which] = which[:, None].to(self.neighbours.device)

    def figures(self) -> dict[str, float]:
        return {"neighbourhood_size": float(self.counts[1])}

    def summary(self) -> dict[str, float]:
        times, size = self.counts.tolist()
        return {
            "neighbourhood_changes": times,
            "neighbourhood_size": size,
            "neighbourhood_window": float(self.window),
        }

    def held(self) -> dict[str, Tensor]:
        names = ("neighbours", "partners", "together", "alone", "counts")
        return {**{name: getattr(self, name) for name in names}, **self.sample.held()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name in ("neighbours", "partners", "together", "alone", "counts"):
            getattr(self, name).copy_(state[name])
        self.sample.restore(state)


def _merged(ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The 128 largest values of each line with their ids, values of the same id added up; -1 and 0 where there is none.

    Args:
        ids: [d, m], -1 for none; an id stands at most twice in a line; values: [d, m].
    """
    ids, order = ids.sort(dim=1, stable=True)
    values = values.gather(1, order)
    twice = (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] >= 0)
    values[:, :-1] += values[:, 1:] * twice
    values[:, 1:].masked_fill_(twice, 0.0)
    values.masked_fill_(ids < 0, 0.0)
    values, order = values.sort(dim=1, descending=True, stable=True)
    values, ids = values[:, :MOST], ids.gather(1, order)[:, :MOST]
    return ids.masked_fill(values <= 0, -1).contiguous(), values.contiguous()


def _diagonal(entries: Entries, weights: np.ndarray, d: int) -> np.ndarray:
    rows = np.repeat(np.arange(len(weights)), np.diff(entries.row_start))
    return np.bincount(entries.features, weights[rows], d)
