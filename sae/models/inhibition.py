"""Lateral inhibition: a feature that is much weaker than a neighbour is damped. It is part of encoding, so a model that
was trained with it carries it, with its neighbourhoods; what a row's code is depends on that row alone.

    M_i = max over neighbours j of |f_j|,    f_i' = f_i · (1 - strength · 1[|f_i| < threshold · M_i])

The condition has no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sae.common.errors import UserError

KINDS = ("fixed", "permuted", "adaptive")
MOST = 128  # neighbours of a feature, where they are listed
ENTRIES = 2**24  # neighbours looked at once


class Inhibition(nn.Module):
    """`fixed`: neighbours are those within `radius` by number, in a circle. `permuted`: the same after a permutation of
    the numbers, the control for neighbourhoods that mean something. `adaptive`: listed for each feature.

    Args:
        kind: one of these; radius, strength, threshold: see above.
    """

    order: Tensor
    neighbours: Tensor

    def __init__(
        self, d_sae: int, kind: str = "fixed", radius: int = 32, strength: float = 0.3, threshold: float = 0.5
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"inhibition {kind!r} is not known: take one of {', '.join(KINDS)}")
        if not radius >= 1 or 2 * radius >= d_sae:
            raise UserError(
                f"inhibition_radius {radius} must be at least 1 and leave features outside of it: d_sae is {d_sae}"
            )
        if kind == "adaptive" and 2 * radius > MOST:
            raise UserError(f"inhibition_radius {radius} must be at most {MOST // 2} where neighbours are listed")
        self.kind, self.radius, self.strength, self.threshold = kind, radius, strength, threshold
        #: how many activations the last codes had damped; no part of the model
        self.last_damped = torch.zeros(())
        if kind == "permuted":
            self.register_buffer("order", torch.arange(d_sae))
        if kind == "adaptive":
            own = torch.arange(d_sae)[:, None]
            away = torch.cat([torch.arange(-radius, 0), torch.arange(1, radius + 1)])
            near = torch.cat([(own + away) % d_sae, own.expand(-1, MOST - 2 * radius)], dim=1)
            self.register_buffer("neighbours", near.contiguous())

    def hyperparameters(self) -> dict[str, Any]:
        return {"kind": self.kind, "radius": self.radius, "strength": self.strength, "threshold": self.threshold}

    def forward(self, code: Tensor) -> Tensor:
        """Of codes [n, d_sae]."""
        damped = self.damped(code)
        self.last_damped = damped.sum()
        return code * (1 - self.strength * damped)

    @torch.no_grad()
    def damped(self, code: Tensor) -> Tensor:
        """1 where an active feature is damped, 0 elsewhere, [n, d_sae]."""
        size = code.detach().abs()
        if self.kind == "adaptive":
            return self._listed(size)
        if self.kind == "permuted":
            back = torch.empty_like(self.order)
            back[self.order] = torch.arange(len(back), device=back.device)
            strongest = _within(size[:, self.order], self.radius)[:, back]
        else:
            strongest = _within(size, self.radius)
        return ((size > 0) & (size < self.threshold * strongest)).to(code.dtype)

    def _listed(self, size: Tensor) -> Tensor:
        if size.device.type == "cpu" and size.dtype in (torch.float32, torch.float64):
            from sae.models.listed_neighbours import outdone  # numba is no part of opening a model

            return outdone(size, self.neighbours, self.threshold)
        result = torch.zeros_like(size)
        rows, features = size.nonzero(as_tuple=True)
        flat, d_sae = size.flatten(), size.shape[1]
        for part in torch.arange(len(rows), device=size.device).split(max(1, ENTRIES // MOST)):
            row, feature = rows[part], features[part]
            # Its own value among them changes nothing: no feature is weaker than itself.
            strongest = flat[row[:, None] * d_sae + self.neighbours[feature]].amax(1)
            result[row, feature] = (size[row, feature] < self.threshold * strongest).to(size.dtype)
        return result


def _within(size: Tensor, radius: int) -> Tensor:
    """Largest of the values within `radius` in a circle, itself included, [n, d]: windows of doubled width."""
    ringed = torch.cat([size[:, -radius:], size, size[:, :radius]], dim=1)
    width, wanted = 1, 2 * radius + 1
    while 2 * width <= wanted:
        ringed = torch.maximum(ringed[:, :-width], ringed[:, width:])
        width *= 2
    if width < wanted:
        rest = wanted - width
        ringed = torch.maximum(ringed[:, :-rest], ringed[:, rest:])
    return ringed
