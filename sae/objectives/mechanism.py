"""What a mechanism of training is: something that adds to the loss, or acts on the features between two steps.

It works on any architecture that is trained by autograd. It counts how often it acted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Seen(NamedTuple):
    """A step as mechanisms see it. In `penalty` the tensors carry gradients, in `act` they don't."""

    step: int  # from 0
    x: Tensor  # [B, d_in], as training sees rows
    code: Tensor  # [B, d_sae]
    reconstruction: Tensor  # [B, d_in]


class Features:
    """The features' weights and Adam's moments of them, to be changed in place.

    Args:
        weights: `W_enc [d_in, d_sae]`, `b_enc [d_sae]`, `W_dec [d_sae, d_in]`.
        moments: by the same names, tensors of the same shapes that are 0 for a feature that never learned.
        starts: what else an architecture has for each feature, by name: the value that it starts at.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        moments: Mapping[str, tuple[Tensor, ...]],
        starts: Mapping[str, float] | None = None,
    ) -> None:
        self.weights, self.moments, self.starts = weights, moments, starts or {}

    @property
    def encoder_norms(self) -> Tensor:
        return self.weights["W_enc"].norm(dim=0)

    @torch.no_grad()
    def redraw(self, which: Tensor, directions: Tensor, encoder_norm: float, forget: bool = True) -> None:
        """Start features anew.

        Args:
            which: their numbers, int64 [n]; directions: [n, d_in], of any length but 0.
            encoder_norm: that their encoder columns get; decoder rows get 1, biases 0, the rest what it starts at.
            forget: whether the optimizer's moments of them become 0.
        """
        directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
        self.weights["W_enc"][:, which] = directions.T * encoder_norm
        self.weights["b_enc"][which] = 0.0
        for name, value in self.starts.items():
            self.weights[name][which] = value
        self.weights["W_dec"][which] = directions
        if forget:
            for name, moments in self.moments.items():
                for moment in moments:
                    moment[(slice(None), which) if name == "W_enc" else (which,)] = 0.0


class Mechanism:
    """Base: a mechanism overrides what it needs. `held` is all that its next step depends on."""

    def penalty(self, seen: Seen, W_dec: Tensor) -> Tensor | None:
        """Added to the loss of the step, a scalar with gradients."""
        return None

    def act(self, seen: Seen, features: Features) -> Tensor | None:
        """After the optimizer's step; returns the numbers of features that were started anew, if any were."""
        return None

    def redrawn(self, which: Tensor) -> None:
        """Some mechanism started these features anew: what was gathered of them is of others."""

    def figures(self) -> dict[str, float]:
        """Columns of the curves, of the last step."""
        return {}

    def summary(self) -> dict[str, float]:
        """How often it acted, and what of the whole training is worth a figure."""
        return {}

    def held(self) -> dict[str, Tensor]:
        """State by name; shapes may change from step to step."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `held` gave. Those whose tensors keep their shapes need not override it."""
        for name, value in self.held().items():
            value.copy_(state[name])


def scalars(*values: float) -> Tensor:
    """State of some numbers, float64 on the CPU."""
    return torch.tensor(values, dtype=torch.float64)
