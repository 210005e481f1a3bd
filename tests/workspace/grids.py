"""A tiny grid trained in this process, for tests that need finished runs."""

from __future__ import annotations

from pathlib import Path

from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment


def train_grid(
    workspace: Workspace,
    scratch: Path,
    name: str = "grid",
    *,
    presets: tuple[str, ...] = ("published",),
    k: tuple[int, ...] = (2, 4),
    d_sae: tuple[int, ...] = (16, 32),
    seeds: tuple[int, ...] = (0,),
    activations: str = "rows",
    epochs: int = 2,
) -> None:
    """Train a grid over `activations` and leave its runs in the workspace. `scratch` takes the progress file."""
    scratch.mkdir(parents=True, exist_ok=True)
    spec = {
        "kind": "topk-grid",
        "name": name,
        "activations": activations,
        "layer": None,
        "position": None,
        "factors": {"preset": list(presets), "d_sae": list(d_sae), "k": list(k), "seed": list(seeds)},
        "settings": {"epochs": epochs, "batch_size": 64},
    }
    run_experiment(workspace, spec, "cpu", JobProgress(scratch))
