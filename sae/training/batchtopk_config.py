"""Configuration of BatchTopK runs, and of those with nested prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.matryoshka_config import MatryoshkaConfig
from sae.training.topk_config import TopKConfig


@dataclass(frozen=True)
class BatchTopKConfig(TopKConfig):
    """A TopK's settings, and how the threshold that replaces the batch comes about."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {**TopKConfig.choices, "selection": ("signed",)}

    architecture: str = "batchtopk"
    k: int = 20
    """Features kept a row on average: K times the rows of a batch, wherever in the batch they are."""
    selection: str = "signed"
    """The largest pre-activations of the batch that are positive; there is no other choice."""
    threshold_start_steps: int = 0
    """Steps before the threshold becomes a running mean of the batches' least activations; until then it is the last
    batch's. 0 stands for 1,000, or a fifth of the run where that is less."""
    threshold_window_steps: int = 0
    """Steps that this mean goes back over (1,000: 0.999 of it is kept a step); 0 stands for 1,000, or a twentieth of
    the run where that is less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("threshold_start_steps", "threshold_window_steps"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} {getattr(self, name)} must be at least 0")

    def model(self) -> dict[str, Any]:
        return {name: value for name, value in super().model().items() if name != "selection"}


@dataclass(frozen=True)
class MatryoshkaBatchTopKConfig(BatchTopKConfig, MatryoshkaConfig):
    """A BatchTopK's settings, and the prefixes."""

    architecture: str = "matryoshka-batchtopk"
