"""SAE architectures: one file each, and one line here. Importing this package does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.models.base import SAE

ARCHITECTURES = {
    "topk": "sae.models.topk:TopK",
    "binary": "sae.models.binary:Binary",
    "standard": "sae.models.standard:Standard",
    "matryoshka": "sae.models.matryoshka:Matryoshka",
    "batchtopk": "sae.models.batchtopk:BatchTopK",
    "matryoshka-batchtopk": "sae.models.matryoshka_batchtopk:MatryoshkaBatchTopK",
    "jumprelu": "sae.models.jumprelu:JumpReLU",
    "gated": "sae.models.gated:Gated",
    "transcoder": "sae.models.transcoder:Transcoder",
    "crosscoder": "sae.models.crosscoder:Crosscoder",
    "deep-topk": "sae.models.deep:DeepTopK",
}


def architecture_class(architecture: str) -> type[SAE]:
    """The class of an architecture. Raises UserError for an unknown name."""
    if architecture not in ARCHITECTURES:
        raise UserError(f"architecture {architecture!r} is not known: take one of {', '.join(ARCHITECTURES)}")
    module, name = ARCHITECTURES[architecture].split(":")
    return getattr(import_module(module), name)


def subtracts_b_dec(model: Mapping[str, Any]) -> bool:
    """Whether the encoder takes b_dec off its rows, from `model` of a run's configuration."""
    return bool(model.get("apply_b_dec_to_input", model["architecture"] not in ("binary", "transcoder")))


def build(architecture: str, **hyperparameters: Any) -> SAE:
    """A model with zero weights: `build("topk", d_in=576, d_sae=2048, k=20)`.

    Raises:
        UserError: for an unknown architecture, an unknown or missing hyperparameter, or a value it can't take.
    """
    try:
        return architecture_class(architecture)(**hyperparameters)
    except TypeError as error:
        raise UserError(f"architecture {architecture!r} can't be built from {hyperparameters}: {error}") from None
