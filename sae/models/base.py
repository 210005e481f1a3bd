"""What every SAE architecture shares: parameter names and shapes, and sparse feature activations.

Parameters carry SAELens' names and shapes: `W_enc [d_in, d_sae]`, `b_enc [d_sae]`, `W_dec [d_sae, d_in]`,
`b_dec [d_in]`. They apply to raw activations.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from sae.common.errors import UserError
from sae.models.inhibition import Inhibition


class SparseRows(NamedTuple):
    """Feature activations of n rows as CSR: only values that are not zero, features ascending within a row."""

    indptr: Tensor  # int64 [n + 1]
    features: Tensor  # int64 [nnz]
    values: Tensor  # float32 [nnz]


class SAE(nn.Module):
    """Base of every architecture: `reconstruction = encode(x) @ W_dec + b_dec`.

    Args:
        inhibition: what `sae.models.inhibition.Inhibition` is built with, for architectures that take it: `encode` then
            ends with `inhibited`. None: there is none.

    A subclass sets `architecture`, implements `encode`, and names what it needs beyond `d_in` and `d_sae` in
    `hyperparameters`; the registry in `sae.models` then builds it from a run's configuration.
    """

    architecture: ClassVar[str]
    #: tensors that are measured as pre-activations are: rows of another scale change them by that scale
    activation_units: ClassVar[tuple[str, ...]] = ("b_enc",)
    #: parameters, or modules of them, that belong to no feature, beside `b_dec`
    shared: ClassVar[tuple[str, ...]] = ()
    #: whether it reconstructs other rows than it reads
    transcodes: ClassVar[bool] = False
    #: whether its rows are those of several layers, side by side
    several_layers: ClassVar[bool] = False

    def __init__(self, d_in: int, d_sae: int, inhibition: dict[str, Any] | None = None) -> None:
        super().__init__()
        if d_in < 1 or d_sae < 1:
            raise UserError(f"d_in {d_in} and d_sae {d_sae} must both be at least 1")
        self.d_in, self.d_sae = d_in, d_sae
        self.W_enc = nn.Parameter(torch.zeros(d_in, d_sae))
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.W_dec = nn.Parameter(torch.zeros(d_sae, d_in))
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        self.inhibition = Inhibition(d_sae, **inhibition) if inhibition else None

    def hyperparameters(self) -> dict[str, Any]:
        """What builds this model again: the keyword arguments of its class."""
        inhibited = {"inhibition": self.inhibition.hyperparameters()} if self.inhibition else {}
        return {"d_in": self.d_in, "d_sae": self.d_sae, **inhibited}

    def inhibited(self, code: Tensor) -> Tensor:
        """Codes [n, d_sae] after lateral inhibition, where the model has it."""
        return self.inhibition(code) if self.inhibition else code

    def pre_activations(self, x: Tensor) -> Tensor:
        """Encoder output before the sparse non-linearity, [n, d_sae], for x [n, d_in]."""
        return torch.addmm(self.b_enc, x - self.b_dec, self.W_enc)

    def encode(self, x: Tensor) -> Tensor:
        """Feature activations [n, d_sae] of x [n, d_in]."""
        raise NotImplementedError

    def decode(self, features: Tensor) -> Tensor:
        """Reconstruction [n, d_in] of dense feature activations [n, d_sae]."""
        return torch.addmm(self.b_dec, features, self.W_dec)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def sparse_encode(self, x: Tensor) -> SparseRows:
        """Feature activations of x [n, d_in] as CSR. Architectures with few active features override it."""
        dense = self.encode(x)
        rows, features = dense.nonzero(as_tuple=True)
        return sparse_rows(rows, features, dense[rows, features], len(x))

    def sparse_decode(self, codes: SparseRows) -> Tensor:
        """Reconstruction [n, d_in] from CSR codes of n rows."""
        total = nn.functional.embedding_bag(
            codes.features, self.W_dec, codes.indptr[:-1], mode="sum", per_sample_weights=codes.values
        )
        return self.written(total)

    def written(self, total: Tensor) -> Tensor:
        """Reconstruction [n, d_in] from what the features of each row write together, [n, d_in]."""
        return total + self.b_dec

    def sparse_forward(self, x: Tensor, codes: SparseRows) -> Tensor:
        """What the model makes of rows x [n, d_in] whose CSR codes are known."""
        return self.sparse_decode(codes)


def sparse_rows(rows: Tensor, features: Tensor, values: Tensor, n: int) -> SparseRows:
    """CSR from (row, feature, value) triples that are sorted by row, then feature."""
    indptr = torch.zeros(n + 1, dtype=torch.int64, device=rows.device)
    indptr[1:] = torch.bincount(rows, minlength=n).cumsum(0)
    return SparseRows(indptr, features, values.float())
