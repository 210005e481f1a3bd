"""TopK SAEs in training: their weights and moments, and the finished model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

from sae.models.topk import TopK
from sae.training.raw_rows import to_raw_rows
from sae.training.rows import Rows
from sae.training.start import initial_model
from sae.training.topk_config import TopKConfig
from sae.training.trainer import Trainer

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


class TopKTrainer(Trainer):
    """`W_enc` is held transposed, [G, d_sae, d_in]: a feature's weights are one contiguous row.

    Args:
        configs: of each member; they differ in nothing but K.
        rows: training rows, on the device to train on.
        principal: see `sae.training.start.initial_model`.
    """

    def __init__(self, configs: Sequence[TopKConfig], rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(configs, rows)
        self.config = configs[0]  # for what all members have in common
        self.unit = self.variance if self.config.loss == "normalised" else 1.0
        self.weights = self._start(configs, rows, principal)
        self.first = {name: torch.zeros_like(value) for name, value in self.weights.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.weights.items()}
        self.auxk_k = self.config.auxk_k or max(1, rows.d_in // 2)
        self.auxk_window = self.config.auxk_window or 2 * rows.n

    def _start(self, configs: Sequence[TopKConfig], rows: Rows, principal: Tensor | None) -> dict[str, Tensor]:
        """Initial weights, filled in before the moments are there: a start takes no more memory than training."""
        weights: dict[str, Tensor] = {}
        for member, config in enumerate(configs):
            start = initial_model(config, rows, principal).state_dict()
            start["W_enc"] = start["W_enc"].T
            for name in PARAMETERS:
                if not member:
                    weights[name] = torch.empty(len(configs), *start[name].shape, device=self.device)
                weights[name][member].copy_(start[name])
        return weights

    def finished_model(self, member: int = 0) -> TopK:
        """A member as it is stored: for raw rows, encoding `(x - b_dec) @ W_enc + b_enc`."""
        config = self.config
        trained = {name: value[member] for name, value in self.weights.items()}
        stored = TopK(self.d_in, **self.configs[member].model()).to(self.device)
        with torch.no_grad():
            stored.load_state_dict({**trained, "W_enc": trained["W_enc"].T})
        to_raw_rows(stored, self.shift, self.scale, config.subtract_b_dec)
        return stored

    def drop_moments(self) -> None:
        self.first, self.second = {}, {}

    def reconstruct(self, member: int) -> Callable[[Tensor], Tensor]:
        """From the weights as they stand in training: no copy is made of them."""
        config, weights = self.configs[member], {name: held[member] for name, held in self.weights.items()}
        select = TopK(1, **config.model()).select

        def guess(x: Tensor) -> Tensor:
            x = self.scaled(x)
            seen = x - weights["b_dec"] if self.config.subtract_b_dec else x
            indices, values = select(linear(seen, weights["W_enc"], weights["b_enc"]))
            found = embedding_bag(indices, weights["W_dec"], mode="sum", per_sample_weights=values) + weights["b_dec"]
            return found / self.scale + self.shift

        return guess

    def held(self) -> dict[str, Tensor]:
        parts = {"": self.weights, "first.": self.first, "second.": self.second}
        tensors = {f"{prefix}{name}": value for prefix, part in parts.items() for name, value in part.items()}
        return {**super().held(), **tensors}
