"""What every implementation is given, and what it must offer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sae.models.topk import TopK

BATCH_SIZE = 256
EPOCHS = 25
STEPS = 584  # of BATCH_SIZE rows: 25 epochs of the 5,978 training rows that the published grid had
LR = 1e-3


class Cell(NamedTuple):
    """One configuration of the grid."""

    d_sae: int
    k: int


GRID = tuple(Cell(d_sae, k) for d_sae in (512, 1024, 2048) for k in (5, 10, 20, 100))
LARGE = Cell(16_384, 32)


@dataclass(frozen=True)
class Task:
    """One run to train: the rows, and the settings that all implementations share.

    `rows` [n, d_in] have mean 0 and root mean squared norm 1, and n is a multiple of BATCH_SIZE. `principal` are their
    principal directions as columns [d_in, d_in], which ours starts from: computed once, as in a grid of ours.
    """

    rows: Tensor
    principal: Tensor
    cell: Cell = GRID[0]
    epochs: int = EPOCHS
    seed: int = 0

    @classmethod
    def on(cls, rows: Tensor, epochs: int = EPOCHS) -> Task:
        centred = rows.double() - rows.double().mean(0)
        return cls(rows, torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1), epochs=epochs)

    def at(self, cell: Cell) -> Task:
        return replace(self, cell=cell)

    @property
    def d_in(self) -> int:
        return self.rows.shape[1]

    @property
    def steps(self) -> int:
        return self.epochs * (len(self.rows) // BATCH_SIZE)

    def batch(self, step: int) -> Tensor:
        """Batch number `step` [BATCH_SIZE, d_in], the same for every implementation."""
        epoch, within = divmod(step, len(self.rows) // BATCH_SIZE)
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(self.seed * 1_000_003 + epoch))
        return self.rows[order[within * BATCH_SIZE : (within + 1) * BATCH_SIZE]]


class Implementation(Protocol):
    """One trainer of a TopK SAE. Everything that a step of it does outside of fetching the batch is in `step`."""

    def __init__(self, task: Task) -> None: ...

    def step(self, x: Tensor) -> object:
        """One optimizer step on x [BATCH_SIZE, d_in]."""

    def model(self) -> TopK:
        """The SAE trained so far, for rows as in `Task.rows`."""


def topk_model(k: int, W_enc: Tensor, b_enc: Tensor, W_dec: Tensor, b_dec: Tensor) -> TopK:
    """A copy of a peer's weights: W_enc [d_in, d_sae], W_dec [d_sae, d_in], encoding `(x - b_dec) @ W_enc + b_enc`."""
    d_in, d_sae = W_enc.shape
    model = TopK(d_in, d_sae, k)
    with torch.no_grad():
        for name, value in {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec}.items():
            getattr(model, name).copy_(value)
    return model
