"""One run on disk: configuration, metrics, history, weights, feature activations and the tables made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import read_json, read_json_once, read_parquet
from sae.common.lazily import lazily

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sae.analysis.codes import FeatureActivations
    from sae.models.base import SAE


@dataclass(frozen=True)
class RunFolder:
    """Reads a run. Every file of it was moved into place whole, so what is there is complete."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @lazily
    def config(self) -> dict[str, Any]:
        return read_json_once(f"{self.folder}/config.json")

    @property
    def done(self) -> bool:
        return os.path.exists(f"{self.folder}/metrics.json")  # a page asks a thousand runs: paths as text are quicker

    @property
    def error(self) -> str | None:
        """Why it failed, in one line; None if it did not."""
        path = self.folder / "error.json"
        return read_json(path)["error"] if path.exists() and not self.done else None

    @lazily
    def results(self) -> dict[str, Any]:
        """metrics.json: `metrics` by split, `intervals`, `baselines`, `seconds`. Raises UserError before the end."""
        if not self.done:
            raise UserError(f"run {self.id} has no metrics yet: it is not finished")
        return read_json_once(f"{self.folder}/metrics.json")

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        return self.results["metrics"]

    @property
    def factors(self) -> dict[str, Any]:
        return self.config["factors"]

    @property
    def title(self) -> str:
        """What people call it: the name it was given, else its factors."""
        if name := self.config.get("name"):
            return str(name)
        shown = [
            f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}" for key, value in self.factors.items()
        ]
        return ", ".join(shown) or self.id

    def history(self) -> pd.DataFrame:
        """Learning curves, a line per recorded step; empty before the first."""
        return self._table("history")

    def features(self) -> pd.DataFrame:
        """One line a feature (`sae.analysis.features`). Raises UserError if the run is not finished."""
        return self._table("features", required=True)

    def pairs(self) -> pd.DataFrame:
        """The most correlated feature pairs (`sae.analysis.pairs`). Raises UserError if the run is not finished."""
        return self._table("pairs", required=True)

    def map(self) -> pd.DataFrame | None:
        """UMAP of the decoder rows: feature, x, y; None until it was made."""
        return self._table("map") if (self.folder / "map.parquet").exists() else None

    def codes(self) -> FeatureActivations:
        """Sparse feature activations over all rows of the slice, memory-mapped."""
        from sae.analysis.codes import FeatureActivations

        path = self.folder / "codes.safetensors"
        if not path.exists():
            raise UserError(
                f"run {self.id} has no feature activations: it is not finished, or codes.safetensors is gone"
            )
        return FeatureActivations.load(path)

    def weights(self) -> dict[str, np.ndarray]:
        """Weights by name, without importing torch: `W_enc [d_in, d_sae]`, `W_dec [d_sae, d_in]`, ..."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.folder / "weights.safetensors"
        if not path.exists():
            raise UserError(f"run {self.id} has no weights: it is not finished, or weights.safetensors is gone")
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path} can't be read: {error}") from None

    def directions(self) -> np.ndarray:
        """Decoder rows [d_sae, d_in] as they can be compared (`sae.analysis.layer_norms`)."""
        from sae.analysis.layer_norms import directions

        return directions(self.weights())

    def model(self, device: str = "cpu") -> SAE:
        """The trained SAE, in evaluation mode."""
        import torch

        from sae.models import build

        model = build(**self.config["model"])
        model.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights().items()})
        return model.eval().requires_grad_(False).to(device)

    def _table(self, name: str, required: bool = False) -> pd.DataFrame:
        import pandas as pd

        path = self.folder / f"{name}.parquet"
        if path.exists():
            try:
                return read_parquet(path)
            except (OSError, ValueError) as error:
                raise UserError(f"{path} can't be read: {error}") from None
        if required:
            raise UserError(f"run {self.id} has no {name} table: it is not finished, or {name}.parquet is gone")
        return pd.DataFrame()
