"""Tiny cosine experiments trained in this process, for tests that need finished ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment
from tests.workspace.helpers import put_activations


def spec(kind: str, name: str, factors: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "activations": "rows",
        "layer": None,
        "position": None,
        "factors": factors,
        "settings": {"epochs": 3, "batch_size": 64},
    }


SPECS = (
    spec("cosine-ablation-alpha", "alpha", {"d_sae": [32], "k": [4], "alpha": [0.1, 1.0, 5.0], "seed": [0, 1]}),
    spec(
        "cosine-ablation-topk",
        "clipped",
        {"d_sae": [32], "k": [2, 8], "rounding": ["pass_through", "topk"], "seed": [0]},
    ),
    spec(
        "cosine-ablation-loss",
        "objectives",
        {
            "d_sae": [16],
            "k": [2],
            "reconstruction_objective": ["cosine", "mse"],
            "sparsity_objective": ["cosine", "l1"],
            "seed": [0],
        },
    ),
    spec("cosine-nk", "sizes", {"d_sae": [16, 32], "k": [2, 4], "seed": [0]}),
)


def make(root: Path) -> Workspace:
    """Activations `rows`, and the experiments `alpha` (2 seeds), `clipped`, `objectives` and `sizes` (one)."""
    workspace = Workspace(root)
    put_activations(workspace)
    for number, one in enumerate(SPECS):
        scratch = root.parent / f"scratch-{number}"
        scratch.mkdir()
        run_experiment(workspace, one, "cpu", JobProgress(scratch))
    for job in workspace.jobs.active():  # the maps that training asks for
        workspace.jobs.cancel(job.id)
    workspace.database.close()
    return Workspace(root)
