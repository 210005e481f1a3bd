"""Rows as a run's encoder matrix meets them, for what is read off its pre-activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae.models import subtracts_b_dec

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

BATCH = 4096


def encoder_rows(run: RunFolder, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(rows [n, d_in], b_dec [d_in] or None): pre-activations are `(rows - b_dec) @ W_enc + b_enc`.

    The rows are x, a memory map as it may be, but for an encoder with layers before that product: then they are what
    those make of x, float32, and there is nothing left to be taken off.
    """
    if run.config["model"].get("encoder_layers", 1) == 1:
        return x, run.weights()["b_dec"] if subtracts_b_dec(run.config["model"]) else None
    import torch

    from sae.models.deep import DeepTopK

    model = run.model("cpu")
    assert isinstance(model, DeepTopK)
    found = np.empty(x.shape, np.float32)
    with torch.no_grad():
        for start in range(0, len(x), BATCH):
            rows = torch.from_numpy(np.array(x[start : start + BATCH], np.float32))
            found[start : start + BATCH] = model.encoder(rows - model.b_dec).numpy()
    return found, None
