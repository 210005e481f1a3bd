"""TopK by autograd: the same training as the fast one, for runs with mechanisms or multi-TopK."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.base import SAE
from sae.models.batchtopk import BatchTopK
from sae.models.topk import TopK
from sae.training.kernels.sparse_products import encoded
from sae.training.raw_rows import to_raw_rows
from sae.training.rows import Sampled
from sae.training.selected import SelectedTrainer
from sae.training.start import initial_model
from sae.training.topk_config import TopKConfig


class TopKAutogradTrainer(SelectedTrainer):
    """Trains one TopK SAE.

    Args:
        principal: see `sae.training.start.initial_model`.
    """

    def __init__(self, config: TopKConfig, rows: Sampled, principal: Tensor | None = None) -> None:
        start = initial_model(config, rows, principal)
        model = self.empty_model(config, rows.d_in)
        model.load_state_dict(start.state_dict(), strict=False)  # what else it has, it begins with
        model.b_dec.requires_grad_(config.decoder_bias)
        super().__init__(config, rows, model)
        self.config = config

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> TopK | BatchTopK:
        return TopK(d_in, **config.model())

    def pre_activations(self, x: Tensor) -> Tensor:
        model = self.model
        return encoded(x, model.b_dec if self.config.subtract_b_dec else None, model.W_enc, model.b_enc)

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> SAE:
        """For raw rows."""
        stored = self.empty_model(self.config, self.d_in).to(self.device)
        stored.load_state_dict(self.model.state_dict())
        to_raw_rows(stored, self.shift, self.scale, self.config.subtract_b_dec)
        return stored
