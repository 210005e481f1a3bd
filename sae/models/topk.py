"""TopK: exactly K features a row are kept (Gao et al. 2024, "Scaling and evaluating sparse autoencoders")."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sae.common.errors import UserError
from sae.models.base import SAE, SparseRows, sparse_rows

SELECTIONS = ("signed", "magnitude")


class TopK(SAE):
    """Keeps the `k` largest pre-activations of a row.

    `selection="signed"` takes the largest signed values and applies ReLU, so activations are >= 0 and a row may have
    fewer than k. `selection="magnitude"` takes the largest absolute values and keeps their sign (SAELens' `abstopk`;
    the recipe of the published grid).
    """

    architecture = "topk"

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        selection: str = "signed",
        inhibition: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(d_in, d_sae, inhibition)
        if not 1 <= k <= d_sae:
            raise UserError(f"k {k} must lie between 1 and d_sae {d_sae}")
        if selection not in SELECTIONS:
            raise UserError(f"selection {selection!r} is not known: take one of {', '.join(SELECTIONS)}")
        self.k, self.selection = k, selection

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "k": self.k, "selection": self.selection}

    def select(self, pre_activations: Tensor, k: int | None = None) -> tuple[Tensor, Tensor]:
        """Winners of each row: (indices int64 [n, k], values [n, k]), in no particular order.

        A value can be 0: signed selection with fewer than k positive pre-activations. Such a slot is not active.

        Args:
            k: how many; by default the model's.
        """
        k = k or self.k
        if self.selection == "signed":
            values, indices = pre_activations.topk(k, dim=-1, sorted=False)
            return indices, values.relu()
        indices = pre_activations.detach().abs().topk(k, dim=-1, sorted=False).indices
        return indices, pre_activations.gather(-1, indices)

    def decode_selected(self, indices: Tensor, values: Tensor) -> Tensor:
        """Reconstruction [n, d_in] from winners [n, k]; reads k decoder rows a row instead of all of them."""
        return self.written(nn.functional.embedding_bag(indices, self.W_dec, mode="sum", per_sample_weights=values))

    def encode(self, x: Tensor) -> Tensor:
        return self.code_of(self.pre_activations(x))

    def code_of(self, pre_activations: Tensor, k: int | None = None) -> Tensor:
        """Feature activations [n, d_sae] from pre-activations of the same shape; k as in `select`."""
        indices, values = self.select(pre_activations, k)
        return self.inhibited(torch.zeros_like(pre_activations).scatter(-1, indices, values))

    def forward(self, x: Tensor) -> Tensor:
        if self.inhibition:
            return super().forward(x)
        return self.decode_selected(*self.select(self.pre_activations(x)))

    def sparse_encode(self, x: Tensor) -> SparseRows:
        if self.inhibition:
            return super().sparse_encode(x)
        indices, values = self.select(self.pre_activations(x))
        indices, order = indices.sort(dim=-1)
        values = values.gather(-1, order)
        rows, slots = (values != 0).nonzero(as_tuple=True)
        return sparse_rows(rows, indices[rows, slots], values[rows, slots], len(x))
