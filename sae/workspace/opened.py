"""A run in a notebook: `sae.open(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.capture.run_rows import rows_read
from sae.common.lazily import lazily
from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from sae.analysis.codes import FeatureActivations
    from sae.analysis.matching import By, Matching
    from sae.analysis.specificity import Specificity
    from sae.capture.store import Slice
    from sae.models.base import SAE
    from sae.workspace.autopsies import Autopsy
    from sae.workspace.folder import Workspace
    from sae.workspace.stability import Stability


class OpenedRun:
    """Everything of a run as attributes, read when first asked for."""

    def __init__(self, workspace: Workspace, folder: RunFolder, device: str = "cpu") -> None:
        self.workspace, self.folder, self.device = workspace, folder, device

    def __repr__(self) -> str:
        return f"<run {self.folder.id}: {self.folder.title}>"

    @property
    def config(self) -> dict[str, Any]:
        return self.folder.config

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        return self.folder.metrics

    @property
    def title(self) -> str:
        return self.folder.title

    @lazily
    def history(self) -> pd.DataFrame:
        """Learning curves, a line per recorded step."""
        return self.folder.history()

    @lazily
    def features(self) -> pd.DataFrame:
        """One line a feature."""
        return self.folder.features()

    @lazily
    def pairs(self) -> pd.DataFrame:
        """The most correlated feature pairs."""
        return self.folder.pairs()

    @lazily
    def map(self) -> pd.DataFrame | None:
        """UMAP of the decoder rows: feature, x, y; None until it was made."""
        return self.folder.map()

    @lazily
    def specificity(self) -> Specificity:
        """Which label each feature goes with: `features`, `findings`, `labels`, `notes`."""
        from sae.workspace.specificity import specificity_of

        return specificity_of(self.workspace, self.folder)

    @lazily
    def autopsy(self) -> Autopsy:
        """Dead and nearly dead features: `table`, `fates`, `n_rows`."""
        from sae.workspace.autopsies import autopsy_of

        return autopsy_of(self.workspace, self.folder)

    @lazily
    def stability(self) -> Stability | None:
        """In how many other seeds each feature is found again: `features`, `notes`; None without other seeds."""
        from sae.workspace.stability import stability_of

        return stability_of(self.workspace, self.folder)

    def match(self, other: OpenedRun, by: By = "cosine") -> Matching:
        """Its features matched one to one with another run's, by decoder cosine or by activation correlation.

        Raises:
            UserError: if the two can't be compared so.
        """
        from sae.workspace.comparing import match_runs

        return match_runs(self.workspace, self.folder, other.folder, by)

    @lazily
    def codes(self) -> FeatureActivations:
        """Sparse feature activations over the rows it was measured on."""
        return self.folder.codes()

    @lazily
    def weights(self) -> dict[str, np.ndarray]:
        """`W_enc [d_in, d_sae]`, `b_enc [d_sae]`, `W_dec [d_sae, d_in]`, `b_dec [d_in]`."""
        return self.folder.weights()

    @lazily
    def directions(self) -> np.ndarray:
        """Decoder rows [d_sae, d_in] as they can be compared: `W_dec`, of a crosscoder in units of each layer."""
        return self.folder.directions()

    @lazily
    def slice(self) -> Slice:
        """The rows it was measured on, with their examples."""
        data = self.config["data"]
        return rows_read(self.workspace.open_activations(data["activations"]), data)

    @lazily
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
