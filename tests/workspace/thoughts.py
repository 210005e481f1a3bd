"""A workspace with the thoughts of a tiny, untrained CODI model, written by hand, and a sweep over layers and steps.

Nothing here goes through `sae.capture`: what stands on disk is the format, made independently.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.common.files import file_sha256, write_json, write_parquet
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment

if TYPE_CHECKING:
    from sae.language_models.codi.model import Codi

N = 90
STEPS = 7
LAYERS = 2
WIDTH = 16


def tiny_codi(folder: Path, kind: str = "supervised") -> Codi:
    """Untrained, of two layers, over the words of the generator's problems; saved in `folder` and loaded again."""
    from sae.language_models.codi import folders, loading
    from sae.language_models.codi.config import CodiConfig
    from sae.language_models.codi.start import untrained
    from sae.language_models.codi.vocabulary import words_of

    problems = generated()
    config = CodiConfig(kind=kind, d_model=WIDTH, n_layers=LAYERS, n_heads=2, d_mlp=24, d_projection=16)
    codi = untrained(config, words_of(problems["question"]))
    codi.source |= {"name": "tiny-codi", "title": "Tiny CODI"}
    folders.save(codi, folder)
    return loading.load(str(folder))


def generated() -> pd.DataFrame:
    from sae.problems import generate

    return generate(N, 3).table()


def put_thoughts(workspace: Workspace, codi: Codi, name: str = "thoughts", dtype: str = "float16") -> None:
    """The states of every layer and step over `N` problems, one problem at a time."""
    import torch

    problems = generated()
    states: list[np.ndarray] = []
    lines: list[dict[str, Any]] = []
    for question, final_answer in zip(problems["question"], problems["final_answer"], strict=True):
        with torch.no_grad():
            ids = codi.encode([question])
            thinking = codi.think(ids, layers=range(LAYERS))
            words, shares = codi.reads_as(thinking.final[:, 0], 5)
            states.append(np.stack([thinking.states[layer][:, 0].numpy() for layer in range(LAYERS)]))
            (answer,) = codi.answer(thinking, 4)
        read = [[[w, float(p)] for w, p in zip(*step, strict=True)] for step in zip(words, shares, strict=True)]
        number = float("nan") if answer.number is None else answer.number
        lines.append(
            {
                "model_answer": answer.text,
                "model_number": number,
                "correct": bool(number == final_answer) or len(lines) % 3 == 0,  # an untrained model is never right
                "answer_log_prob": answer.log_prob,
                "thoughts": json.dumps(read),
                "unknown_words": 0,
            }
        )
    x = np.stack(states)  # [n, layers, steps, d]
    x[:, 0, 0] = x[0, 0, 0] + 1e-4 * x[:, 0, 0]  # as the published model: BOT is nearly the same vector at layer 0
    array = x.transpose(1, 2, 0, 3).reshape(-1, WIDTH).astype(dtype)
    folder = workspace.activations_folder(name)
    folder.mkdir(parents=True)
    np.save(folder / "activations.npy", array)
    places = [(layer, step) for layer in range(LAYERS) for step in range(STEPS)]
    example = np.tile(np.arange(N, dtype=np.int32), len(places))
    rows = {
        "example": example,
        "split": np.where(example % 5 == 4, "validation", "train"),
        "layer": np.repeat(np.array([layer for layer, _ in places], np.int16), N),
        "position": np.repeat(np.array([step for _, step in places], np.int16), N),
    }
    write_parquet(folder / "rows.parquet", pd.DataFrame(rows))
    write_parquet(folder / "examples.parquet", pd.concat([problems, pd.DataFrame(lines)], axis=1))
    slices = [
        {"layer": layer, "position": step, "start": place * N, "stop": (place + 1) * N, "block_index": layer,
         "hidden_states_index": layer + 1}
        for place, (layer, step) in enumerate(places)
    ]  # fmt: skip
    manifest: dict[str, Any] = {
        "format": 1, "name": name, "created": "2026-11-25T00:00:00+00:00", "kind": "capture", "positions": "thoughts",
        "convention_note": "position is the step: 0 is BOT, 1 to 6 are the thoughts", "steps": list(range(STEPS)),
        "model": {**codi.source, "n_layers": LAYERS, "d_model": WIDTH, "context": codi.context},
        "site": "residual stream after the block, before the final norm", "spec": {"final_norm": "before"},
        "problems": {"kind": "generated", "n": N}, "text": "question", "layers": list(range(LAYERS)), "dtype": dtype,
        "d_in": WIDTH, "n_rows": len(array), "n_examples": N, "slices": slices, "skipped": [],
        "sha256": file_sha256(folder / "activations.npy"), "seconds": 0.1, "versions": {},
        "split": {"method": "every fifth", "seed": None, "counts": {"train": 72, "validation": 18}},
    }  # fmt: skip
    write_json(folder / "manifest.json", manifest)


def make(root: Path, kind: str = "supervised") -> Workspace:
    """Activations `thoughts`; `sweep`: K 2 and 4 and 24 features at every layer and step; `one`: a grid of two runs at
    layer 1, step 3. Nothing is left in the queue."""
    workspace = Workspace(root)
    put_thoughts(workspace, tiny_codi(root.parent / "tiny-codi", kind))
    scratch = root.parent / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    shared = {"activations": "thoughts", "settings": {"epochs": 2, "batch_size": 32}}
    factors = {"d_sae": [24], "k": [2, 4], "preset": ["corrected"], "seed": [0]}
    sweep = {"kind": "layer-position-sweep", "name": "sweep", "factors": factors, **shared}
    run_experiment(workspace, sweep, "cpu", JobProgress(scratch))
    one = {"kind": "topk-grid", "name": "one", "factors": factors, "layer": 1, "position": 3, **shared}
    run_experiment(workspace, one, "cpu", JobProgress(scratch))
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    workspace.database.close()
    return workspace
