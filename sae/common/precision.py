"""Sums that need more digits than float32 has, on devices that have no float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def exact(x: Tensor) -> Tensor:
    """`x` in float64: on its device, or on the CPU where its device (Apple's) has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
