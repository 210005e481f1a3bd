"""Rows to train on: planted ones, or those of a workspace's activations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.task import BATCH_SIZE

TRAIN_ROWS, VALIDATION_ROWS = 23 * BATCH_SIZE, 1_495  # as the published grid had them, in whole batches


class Rows(NamedTuple):
    """Rows [n, d_in] for training and held-out ones; the training rows have mean 0 and root mean squared norm 1."""

    train: Tensor
    validation: Tensor


def planted(d_in: int, n_train: int = TRAIN_ROWS, n_validation: int = VALIDATION_ROWS, seed: int = 0) -> Rows:
    """Sums of a few of 4,096 random unit directions with noise.

    Feature j is used with probability proportional to 1 / (j + 10), so that some are common and most are rare; about 24
    are active in a row, with exponential strengths; a tenth of the variance is noise.
    """
    generator = torch.Generator().manual_seed(seed)
    use = 1 / (torch.arange(4_096) + 10.0)
    use *= 24 / use.sum()
    directions = torch.nn.functional.normalize(torch.randn(len(use), d_in, generator=generator), dim=1)
    n = n_train + n_validation
    strength = torch.empty(n, len(use)).exponential_(generator=generator)
    strength *= torch.rand(strength.shape, generator=generator) < use
    rows = strength @ directions
    noise = torch.randn(rows.shape, generator=generator) * (rows.var() / 9).sqrt()
    return _prepared(rows + noise, n_train)


def of_activations(name: str, layer: int | None = None, position: int | None = None) -> Rows:
    """The training and validation rows of one slice of a workspace's activations, training rows in whole batches.

    Raises:
        UserError: as `Workspace.open_activations` and `Activations.slice`.
    """
    from sae.workspace.folder import Workspace

    part = Workspace.at().open_activations(name).slice(layer, position)
    keep = torch.randperm(len(part.train_rows), generator=torch.Generator().manual_seed(0))
    keep = keep[: len(keep) // BATCH_SIZE * BATCH_SIZE]
    rows = [torch.as_tensor(part.x[numbers]).float() for numbers in (part.train_rows[keep], part.validation_rows)]
    return _prepared(torch.cat(rows), len(keep))


def _prepared(rows: Tensor, n_train: int) -> Rows:
    """Centred and scaled by the training rows: several peers collapse on rows that are not, and EV does not depend on
    it. Ours does the same by itself, and pays for it once more."""
    rows = rows - rows[:n_train].mean(0)
    rows /= rows[:n_train].square().sum(1).mean().sqrt()
    return Rows(rows[:n_train].contiguous(), rows[n_train:].contiguous())
