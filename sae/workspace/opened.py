"""A run in a notebook: `sae.open(...)`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from sae.analysis.codes import FeatureActivations
    from sae.models.base import SAE


class OpenedRun:
    """Everything of a run as attributes, read when first asked for."""

    def __init__(self, folder: RunFolder, device: str = "cpu") -> None:
        self.folder, self.device = folder, device

    def __repr__(self) -> str:
        return f"<run {self.folder.id}: {self.folder.title}>"

    @property
    def config(self) -> dict[str, Any]:
        return self.folder.config

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        return self.folder.metrics

    @cached_property
    def history(self) -> pd.DataFrame:
        return self.folder.history()

    @cached_property
    def features(self) -> pd.DataFrame:
        return self.folder.features()

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return self.folder.pairs()

    @cached_property
    def activations(self) -> FeatureActivations:
        """Sparse feature activations over the rows it was measured on."""
        return self.folder.codes()

    @cached_property
    def model(self) -> SAE:
        return self.folder.model(self.device)

    def encode(self, x: np.ndarray | Tensor) -> Tensor:
        """Feature activations [n, d_sae] of rows x [n, d_in]."""
        return self.model.encode(self._tensor(x))

    def decode(self, features: np.ndarray | Tensor) -> Tensor:
        """Reconstruction [n, d_in] of feature activations [n, d_sae]."""
        return self.model.decode(self._tensor(features))

    def _tensor(self, x: np.ndarray | Tensor) -> Tensor:
        import torch

        return torch.as_tensor(np.asarray(x) if not isinstance(x, torch.Tensor) else x).to(self.device, torch.float32)
