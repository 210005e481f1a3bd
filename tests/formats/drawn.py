"""SAEs with weights drawn from a seed, one of each kind that other tools may hold."""

from __future__ import annotations

from typing import Any

import torch

from sae.models import build
from sae.models.base import SAE

SIZES = {"d_in": 6, "d_sae": 16}
KINDS: dict[str, dict[str, Any]] = {
    "topk": {"architecture": "topk", "k": 3},
    "topk-magnitude": {"architecture": "topk", "k": 3, "selection": "magnitude"},
    "matryoshka": {"architecture": "matryoshka", "k": 3, "prefixes": [4, 16]},
    "matryoshka-magnitude": {"architecture": "matryoshka", "k": 3, "prefixes": [4, 16], "selection": "magnitude"},
    "standard": {"architecture": "standard"},
    "standard-uncentred": {"architecture": "standard", "apply_b_dec_to_input": False},
    "batchtopk": {"architecture": "batchtopk", "k": 3},
    "matryoshka-batchtopk": {"architecture": "matryoshka-batchtopk", "k": 3, "prefixes": [4, 9, 16]},
    "jumprelu": {"architecture": "jumprelu"},
    "gated": {"architecture": "gated"},
    "transcoder": {"architecture": "transcoder", "k": 3},
    "transcoder-skip": {"architecture": "transcoder", "k": 3, "skip": True},
}


def model(kind: str) -> SAE:
    """The SAE of a kind; the same on every machine. Thresholds are above 0, as trained ones are."""
    settings: dict[str, Any] = {**SIZES, **KINDS[kind]}
    found = build(**settings)
    generator = torch.Generator().manual_seed(list(KINDS).index(kind))
    for name, value in found.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator)
        value.copy_(0.5 * (drawn.abs() if name == "threshold" else drawn))
    return found.eval().requires_grad_(False)


def rows() -> torch.Tensor:
    """Rows [20, d_in] that are not centred."""
    return torch.randn(20, SIZES["d_in"], generator=torch.Generator().manual_seed(100)) + 2
