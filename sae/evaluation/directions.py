"""How near each feature's encoder or decoder direction is to its nearest neighbour's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 512


def nearest_cosines(directions: Tensor) -> Tensor:
    """The largest cosine (signed) of each row of `directions` [d_sae, d] with another row, [d_sae].

    A row of zeros has the cosine 0 with every other. Of a single row there is no other: -inf.
    """
    import torch

    unit = torch.nn.functional.normalize(directions, dim=1)
    found = torch.empty(len(unit), dtype=unit.dtype, device=unit.device)
    for start in range(0, len(unit), _AT_ONCE):
        cosines = unit[start : start + _AT_ONCE] @ unit.T
        own = torch.arange(len(cosines), device=unit.device)
        cosines[own, own + start] = float("-inf")
        found[start : start + _AT_ONCE] = cosines.max(dim=1).values
    return found
