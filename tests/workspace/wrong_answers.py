"""Activations of a made-up thinking model that is often wrong, a sweep over them, and what predicts its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.common.files import file_sha256, write_json, write_parquet
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.measurements import measure_runs
from sae.workspace.work import run_experiment

LAYERS, STEPS, N, D_IN = (0, 1), (0, 1, 2), 540, 12
FULL = (1, 2)
SIZES = {"repeats": "1", "draws": "400", "permutations": "39", "null_permutations": "19"}


def put(workspace: Workspace, name: str = "thoughts", *, wrong_share: float = 0.35) -> None:
    """Sparse combinations of directions in every slice; at step 2 the first direction goes with wrong answers."""
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(20, D_IN))
    wrong = rng.random(N) < wrong_share
    places = [(layer, step) for layer in LAYERS for step in STEPS]
    blocks = []
    for _, step in places:
        on = rng.random((N, 20)) < 0.2
        if step == 2:
            on[:, 0] = rng.random(N) < np.where(wrong, 0.8, 0.15)
        blocks.append((on * rng.gamma(3, 1, (N, 20))) @ directions + 2)
    array = np.concatenate(blocks).astype(np.float32)
    folder = workspace.activations_folder(name)
    folder.mkdir(parents=True)
    np.save(folder / "activations.npy", array)
    split = np.array(["train"] * 120 + ["validation"] * 20 + ["test"] * (N - 140))
    rows = {
        "example": np.tile(np.arange(N, dtype=np.int32), len(places)),
        "split": np.tile(split, len(places)),
        "layer": np.repeat(np.array([layer for layer, _ in places], np.int16), N),
        "position": np.repeat(np.array([step for _, step in places], np.int16), N),
    }
    write_parquet(folder / "rows.parquet", pd.DataFrame(rows))
    examples = {
        "question": [f"Ann has {i} eggs and {i % 7} more. How many?" for i in range(N)],
        "answer": ["#### 1"] * N,
        "correct": ~wrong,
        "answer_log_prob": rng.normal(size=N) - 2,
        "n_steps": rng.integers(2, 5, N),
    }
    write_parquet(folder / "examples.parquet", pd.DataFrame(examples))
    manifest = {
        "format": 1, "name": name, "created": "2026-11-25T00:00:00+00:00", "kind": "capture", "positions": "thoughts",
        "model": {"name": "made-up", "kind": "supervised"}, "problems": None, "text": "question",
        "layers": list(LAYERS), "steps": list(STEPS), "dtype": "float32", "d_in": D_IN, "n_rows": len(array),
        "n_examples": N, "seconds": 0.1, "versions": {}, "skipped": [],
        "slices": [
            {"layer": layer, "position": step, "start": place * N, "stop": (place + 1) * N}
            for place, (layer, step) in enumerate(places)
        ],
        "sha256": file_sha256(folder / "activations.npy"),
        "split": {"method": "by hand", "seed": None, "counts": {"train": 120, "validation": 20, "test": N - 140}},
    }  # fmt: skip
    write_json(folder / "manifest.json", manifest)


def sweep(workspace: Workspace, scratch: Path, name: str = "sweep", activations: str = "thoughts") -> None:
    """One small SAE in every slice."""
    scratch.mkdir(parents=True, exist_ok=True)
    factors = {"d_sae": [24], "k": [4], "preset": ["corrected"], "seed": [0]}
    spec = {
        "kind": "layer-position-sweep", "name": name, "activations": activations, "factors": factors,
        "settings": {"epochs": 20, "batch_size": 32},
    }  # fmt: skip
    run_experiment(workspace, spec, "cpu", JobProgress(scratch))


def make(root: Path) -> Workspace:
    """Activations `thoughts`, their sweep `sweep`, and `errors`: all its runs, the full protocol at layer 1, step 2."""
    workspace = Workspace(root)
    put(workspace)
    scratch = root.parent / "scratch"
    sweep(workspace, scratch)
    spec: dict[str, Any] = {"kind": "error-prediction", "name": "errors", "source": "sweep", "runs": []}
    spec["settings"] = {"full": "layer=1,position=2", **SIZES}
    measure_runs(workspace, spec, "cpu", JobProgress(scratch))
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    workspace.database.close()
    return workspace
