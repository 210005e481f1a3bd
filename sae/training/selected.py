"""What architectures whose features are the largest pre-activations minimise: error, AuxK, multi-TopK; by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.models.base import SAE
from sae.models.batchtopk import BatchTopK
from sae.models.topk import TopK
from sae.objectives.auxk import auxk
from sae.training.autograd import Outcome
from sae.training.kernels.sparse_products import decoded
from sae.training.mechanisms import MechanismsTrainer
from sae.training.rows import Sampled
from sae.training.topk_config import SelectedConfig

MULTI_WIDER, MULTI_WEIGHT = 4, 1 / 8  # of multi-TopK (Gao et al. 2024, appendix)


class SelectedTrainer(MechanismsTrainer):
    """Base: a subclass says how rows become pre-activations, and what of a row its features have to explain."""

    model: TopK | BatchTopK

    def __init__(self, config: SelectedConfig, rows: Sampled, model: SAE) -> None:
        super().__init__(config, rows, model)
        self.selected = config
        self.unit = self.variance if config.loss == "normalised" else 1.0
        self.auxk_k = config.auxk_k or max(1, self.d_in // 2)
        self.auxk_window = config.auxk_window or 2 * rows.n

    def pre_activations(self, x: Tensor) -> Tensor:
        """[B, d_sae] of rows as training sees them."""
        raise NotImplementedError

    def explained(self, x: Tensor) -> Tensor:
        """What the features have to explain [B, d_in] of rows as training sees them."""
        return x

    def code_of(self, pre: Tensor, k: int) -> Tensor:
        """Feature activations [B, d_sae] that training decodes, with k active on a row."""
        assert isinstance(self.model, TopK)
        return self.model.code_of(pre, k)

    def error(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error per element that is minimised, and the reconstruction."""
        guess = decoded(code, self.model.W_dec, self.model.b_dec)
        return (x - guess).square().mean(), guess

    def forward(self, x: Tensor) -> Outcome:
        model, k = self.model, self.selected.k
        pre, wanted = self.pre_activations(x), self.explained(x)
        wider = None
        if self.selected.multi_topk:  # first, so that what is remembered of the code is of the one that is returned
            wider, _ = self.error(wanted, self.code_of(pre, min(MULTI_WIDER * k, model.d_sae)))
        code = self.code_of(pre, k)
        error, guess = self.error(wanted, code)
        loss = error / self.unit
        if wider is not None:
            loss = loss + MULTI_WEIGHT * wider / self.unit
        if self.selected.auxk_coefficient:
            dead = (self.rows_seen - self.last_fired[0] >= self.auxk_window).nonzero()[:, 0]
            if len(dead):
                loss = loss + self._auxk(pre[:, dead], (wanted - guess).detach(), model.W_dec[dead])
        return Outcome(loss, guess, code)

    def _auxk(self, pre: Tensor, residual: Tensor, W_dec: Tensor) -> Tensor:
        """The term, with the gradients that `auxk` gives for it."""
        every = torch.ones(len(W_dec), dtype=torch.bool, device=self.device)
        term = auxk(pre.detach(), residual, W_dec.detach(), every, self.auxk_k)
        carrier = (pre * term.pre_activations).sum() + (W_dec * term.W_dec).sum()
        weight = self.selected.auxk_coefficient * self.variance / self.unit
        return weight * (carrier - carrier.detach() + term.loss)

    @property
    def unit_norm(self) -> bool:
        return self.selected.decoder_norm == "every_step"

    @property
    def projects(self) -> bool:
        return self.unit_norm and self.selected.project_gradient
