"""Rewriting weights so that one convention's numbers come out of another's forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def uncentred(b_enc: Tensor, W_enc: Tensor, b_dec: Tensor) -> Tensor:
    """The bias c [d_sae] with `x @ W_enc + c = (x - b_dec) @ W_enc + b_enc`, computed in float64."""
    return (b_enc.double() - b_dec.double() @ W_enc.double()).float()


def centred(bias: Tensor, W_enc: Tensor, b_dec: Tensor) -> Tensor:
    """The bias b_enc [d_sae] with `(x - b_dec) @ W_enc + b_enc = x @ W_enc + bias`, computed in float64."""
    return (bias.double() + b_dec.double() @ W_enc.double()).float()
