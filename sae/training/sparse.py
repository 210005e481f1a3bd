"""The step on a CPU: work follows sparsity. Only the encoder's product is dense; the decoder and both gradients touch
the K features that won, and weights and moments are written once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.common.threads import balanced, even, over_ranges
from sae.models.topk import TopK
from sae.objectives.auxk import auxk
from sae.training.kernels.features import by_feature, decode_error, update_features
from sae.training.kernels.product import encoder_product
from sae.training.rows import Rows
from sae.training.topk import TopKTrainer
from sae.training.topk_config import TopKConfig
from sae.training.trainer import BETA1, BETA2, EPSILON

# What updating a feature costs besides its entries, in entries (measured at d_in 256 to 2,048).
FEATURE_COST = 12.0


class Extra(NamedTuple):
    """Gradients of features from other terms of the loss: `row` [d_sae] says where a feature's stand, -1 for none."""

    row: np.ndarray
    W_enc: np.ndarray
    b_enc: np.ndarray
    W_dec: np.ndarray


class SparseTrainer(TopKTrainer):
    """Trains one TopK SAE on the CPU with hand-written gradients."""

    def __init__(self, config: TopKConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__([config], rows, principal)
        self.touched = torch.zeros(1, config.d_sae, dtype=torch.uint8)
        self._select = TopK(1, config.d_sae, config.k, config.selection).select
        # The one member's memory, as the compiled loops see it.
        self._weights, self._first, self._second = (
            {name: value[0].numpy() for name, value in part.items()} for part in (self.weights, self.first, self.second)
        )

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        config = self.config
        W_enc, b_enc, b_dec = (self.weights[name][0] for name in ("W_enc", "b_enc", "b_dec"))
        x = self.scaled(x)
        seen = x - b_dec if config.subtract_b_dec else x
        pre = encoder_product(seen, W_enc, b_enc, config.precision)
        indices, values = self._select(pre)
        error = torch.empty_like(x)
        given = (x.numpy(), indices.numpy(), values.numpy(), self._weights["W_dec"], self._weights["b_dec"])
        squares = over_ranges(lambda part, a, b: decode_error(a, b, *given, error.numpy()), even(len(x)))
        extra = self._auxk(pre, error, seen)
        self._update(seen, error, indices, values, 2 / (x.numel() * self.unit), extra)
        self.step_number += 1
        self.rows_seen += len(x)
        self.last_fired[0, indices[values != 0]] = self.rows_seen
        return torch.tensor([sum(squares) / x.numel() / self.scale**2])

    def _auxk(self, pre: Tensor, error: Tensor, seen: Tensor) -> Extra:
        none = np.empty((0, self.d_in), np.float32)
        row = np.full(self.config.d_sae, -1, np.int64)
        if not self.config.auxk_coefficient:
            return Extra(row, none, none[:, 0], none)
        dead = (self.rows_seen - self.last_fired[0] >= self.auxk_window).nonzero()[:, 0]
        if not len(dead):
            return Extra(row, none, none[:, 0], none)
        row[dead.numpy()] = np.arange(len(dead))
        W_dec = self.weights["W_dec"][0, dead]
        term = auxk(pre[:, dead], -error, W_dec, torch.ones(len(dead), dtype=torch.bool), self.auxk_k)
        weight = self.config.auxk_coefficient * self.variance / self.unit
        by_pre = term.pre_activations * weight
        parts = (by_pre.T @ seen, by_pre.sum(0), term.W_dec * weight)
        return Extra(row, *(part.contiguous().numpy() for part in parts))

    def _update(self, seen: Tensor, error: Tensor, indices: Tensor, values: Tensor, scale: float, extra: Extra) -> None:
        config = self.config
        t = self.step_number + 1
        rate = self.learning_rate(self.step_number) / (1 - BETA1**t)
        correction = 1 / (1 - BETA2**t) ** 0.5
        adam = tuple(np.float32(value) for value in (rate, correction, BETA1, BETA2, EPSILON))
        unit_norm = config.decoder_norm == "every_step"
        relu, project = config.selection == "signed", unit_norm and config.project_gradient
        switches = (relu, project, unit_norm, config.subtract_b_dec)
        start, entry = by_feature(indices.numpy(), config.d_sae)
        bounds = balanced(start, FEATURE_COST)
        by_b_dec = np.zeros((len(bounds) - 1, self.d_in), np.float32)
        features = ("W_enc", "b_enc", "W_dec")
        weights = tuple(self._weights[name] for name in features)
        moments = tuple(part[name] for name in features for part in (self._first, self._second))
        given = (start, entry, values.numpy(), seen.numpy(), error.numpy(), np.float32(scale), extra[0], extra[1:])
        touched = self.touched[0].numpy()

        def work(part: int, first: int, last: int) -> None:
            update_features(first, last, *given, touched, weights, moments, adam, switches, by_b_dec[part])

        over_ranges(work, bounds)
        if config.decoder_bias:
            gradient = error.sum(0).mul_(scale).add_(torch.from_numpy(by_b_dec.sum(0)))
            first, second = self.first["b_dec"][0], self.second["b_dec"][0]
            first.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            self.weights["b_dec"][0].addcdiv_(first, second.sqrt().mul_(correction).add_(EPSILON), value=-rate)

    def drop_moments(self) -> None:
        super().drop_moments()
        self._first, self._second = {}, {}

    def held(self) -> dict[str, Tensor]:
        return {**super().held(), "touched": self.touched}
