"""TopK by autograd: the same training as the fast one, for runs with mechanisms or multi-TopK."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.base import SAE
from sae.models.batchtopk import BatchTopK
from sae.models.topk import TopK
from sae.objectives.auxk import auxk
from sae.training.autograd import Outcome
from sae.training.kernels.sparse_products import decoded, encoded
from sae.training.mechanisms import MechanismsTrainer
from sae.training.raw_rows import to_raw_rows
from sae.training.rows import Rows
from sae.training.start import initial_model
from sae.training.topk_config import TopKConfig

MULTI_WIDER, MULTI_WEIGHT = 4, 1 / 8  # of multi-TopK (Gao et al. 2024, appendix)


class TopKAutogradTrainer(MechanismsTrainer):
    """Trains one TopK SAE.

    Args:
        principal: see `sae.training.start.initial_model`.
    """

    model: TopK | BatchTopK

    def __init__(self, config: TopKConfig, rows: Rows, principal: Tensor | None = None) -> None:
        start = initial_model(config, rows, principal)
        model = self.empty_model(config, rows.d_in)
        model.load_state_dict(start.state_dict(), strict=False)  # what else it has, it begins with
        model.b_dec.requires_grad_(config.decoder_bias)
        super().__init__(config, rows, model)
        self.config = config
        self.unit = self.variance if config.loss == "normalised" else 1.0
        self.auxk_k = config.auxk_k or max(1, rows.d_in // 2)
        self.auxk_window = config.auxk_window or 2 * rows.n

    @staticmethod
    def empty_model(config: TopKConfig, d_in: int) -> TopK | BatchTopK:
        return TopK(d_in, **config.model())

    def code_of(self, pre: Tensor, k: int) -> Tensor:
        """Feature activations [B, d_sae] that training decodes, with k active on a row."""
        assert isinstance(self.model, TopK)
        return self.model.code_of(pre, k)

    def error(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error per element that is minimised, and the reconstruction."""
        guess = decoded(code, self.model.W_dec, self.model.b_dec)
        return (x - guess).square().mean(), guess

    def forward(self, x: Tensor) -> Outcome:
        model = self.model
        pre = encoded(x, model.b_dec if self.config.subtract_b_dec else None, model.W_enc, model.b_enc)
        wider = None
        if self.config.multi_topk:  # first, so that what is remembered of the code is of the one that is returned
            wider, _ = self.error(x, self.code_of(pre, min(MULTI_WIDER * self.config.k, model.d_sae)))
        code = self.code_of(pre, self.config.k)
        error, guess = self.error(x, code)
        loss = error / self.unit
        if wider is not None:
            loss = loss + MULTI_WEIGHT * wider / self.unit
        if self.config.auxk_coefficient:
            dead = (self.rows_seen - self.last_fired[0] >= self.auxk_window).nonzero()[:, 0]
            if len(dead):
                loss = loss + self._auxk(pre[:, dead], (x - guess).detach(), model.W_dec[dead])
        return Outcome(loss, guess, code)

    def _auxk(self, pre: Tensor, residual: Tensor, W_dec: Tensor) -> Tensor:
        """The term, with the gradients that `auxk` gives for it."""
        every = torch.ones(len(W_dec), dtype=torch.bool, device=self.device)
        term = auxk(pre.detach(), residual, W_dec.detach(), every, self.auxk_k)
        carrier = (pre * term.pre_activations).sum() + (W_dec * term.W_dec).sum()
        weight = self.config.auxk_coefficient * self.variance / self.unit
        return weight * (carrier - carrier.detach() + term.loss)

    @property
    def unit_norm(self) -> bool:
        return self.config.decoder_norm == "every_step"

    @property
    def projects(self) -> bool:
        return self.unit_norm and self.config.project_gradient

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> SAE:
        """For raw rows."""
        stored = self.empty_model(self.config, self.d_in).to(self.device)
        stored.load_state_dict(self.model.state_dict())
        to_raw_rows(stored, self.shift, self.scale, self.config.subtract_b_dec)
        return stored
