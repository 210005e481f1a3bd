"""Lets SAEBench evaluate an SAE of ours, as it does its own custom SAEs: `adapt(model, ...)`.

What SAEBench 0.6.0 asks of an object (`sae_bench/custom_saes`): `W_enc [d_in, d_sae]`, `W_dec [d_sae, d_in]` with rows
of unit norm, `b_enc`, `b_dec`, `encode`, `decode` and `forward` for rows [n, d] and [B, T, d], `device`, `dtype`, `to`
and `cfg`. Nothing of SAEBench is imported here.

A decoder whose rows have other norms is rescaled, and each feature with it: the reconstruction stays, activations are
then in the units of unit directions. Signed codes can be split into two latents each, f⁺ and f⁻, since SAEBench counts
only values above 0 as firings.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sae.models.base import SAE
from sae.models.units import decoder_norms


@dataclass
class Config:
    """What SAEBench reads of an SAE's `cfg`; it adds further attributes of its own."""

    model_name: str
    d_in: int
    d_sae: int
    hook_layer: int
    hook_name: str
    architecture: str
    context_size: int = 128
    hook_head_index: int | None = None
    prepend_bos: bool = True
    normalize_activations: str = "none"
    dtype: str = "float32"
    device: str = "cpu"
    dataset_path: str = ""
    dataset_trust_remote_code: bool = True
    seqpos_slice: tuple[int | None, ...] = (None,)
    model_from_pretrained_kwargs: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Adapted(nn.Module):
    """An SAE as SAEBench takes it; see the module's head. Made by `adapt`."""

    def __init__(self, model: SAE, cfg: Config, split_signs: bool) -> None:
        super().__init__()
        self.sae = model
        self.cfg = cfg
        self.split_signs = split_signs
        norm = decoder_norms(model)
        signs = [1.0, -1.0] if split_signs else [1.0]
        with torch.no_grad():
            self.W_enc = nn.Parameter(torch.cat([sign * model.W_enc * norm for sign in signs], dim=1))
            self.b_enc = nn.Parameter(torch.cat([sign * model.b_enc * norm for sign in signs]))
            self.W_dec = nn.Parameter(torch.cat([sign * model.W_dec / norm[:, None] for sign in signs]))
            self.b_dec = nn.Parameter(model.b_dec.clone())
        self.register_buffer("norm", norm)
        self.norm: Tensor
        self.device, self.dtype = model.W_enc.device, model.W_enc.dtype

    def encode(self, x: Tensor) -> Tensor:
        """Feature activations [..., d_sae] of x [..., d_in]."""
        found = self.sae.encode(x.reshape(-1, x.shape[-1])) * self.norm
        if self.split_signs:
            found = torch.cat([found.relu(), (-found).relu()], dim=1)
        return found.reshape(*x.shape[:-1], -1)

    def decode(self, feature_acts: Tensor) -> Tensor:
        """Reconstruction [..., d_in] of feature activations [..., d_sae]."""
        return feature_acts @ self.W_dec + self.b_dec

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def to(self, *arguments: Any, **named: Any) -> Adapted:
        """As of any module; `device` and `dtype` follow."""
        super().to(*arguments, **named)
        self.device, self.dtype = self.W_enc.device, self.W_enc.dtype
        self.cfg.device, self.cfg.dtype = str(self.device), str(self.dtype).removeprefix("torch.")
        return self


def adapt(
    model: SAE, *, model_name: str, layer: int, context_size: int = 128, split_signs: bool = False, **more: Any
) -> Adapted:
    """The SAE as SAEBench takes it: `selected_saes = [(name, adapt(run.model(), ...))]`.

    Args:
        model_name: of the language model, as TransformerLens calls it.
        layer: whose residual stream, after the block, the SAE was trained on.
        context_size: tokens of a prompt.
        split_signs: two latents for each feature, for codes that have both signs.
        more: further fields of `Config`.
    """
    d_sae = model.d_sae * (2 if split_signs else 1)
    cfg = Config(
        model_name,
        model.d_in,
        d_sae,
        layer,
        f"blocks.{layer}.hook_resid_post",
        model.architecture,
        context_size,
        **more,
    )
    return Adapted(model, cfg, split_signs).requires_grad_(False)
