"""A small workspace with finished runs of two recipes and two seeds, of rows and of tokens."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from sae.analysis.maps import decoder_map
from sae.common.files import file_sha256, write_json, write_parquet
from sae.workspace import Workspace
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations

ROWS = 300
WORDS = ["Anna", "has", "12", "red", "eggs", "and", "sells", "5", "cakes"]


def make(root: Path) -> Workspace:
    """`both`: corrected and published, K 2 and 4, d_sae 16 and 32, seeds 0 and 1 over 300 rows. `tokens`: one run over
    the words of 40 sentences. All runs but `tokens`' have a map. Nothing is left in the queue."""
    workspace = Workspace(root)
    put_activations(workspace, n=ROWS)
    folder = workspace.activations_folder("rows")
    verbs = ["buys" if i % 2 else "bakes" for i in range(ROWS)]
    questions = [f"Ben {verb} {i} loaves <b>and</b> {i % 7} rolls. How many?" for i, verb in enumerate(verbs)]
    answers = [f"{i}+{i % 7}=<<{i}+{i % 7}={i + i % 7}>>\n#### {i + i % 7}" for i in range(ROWS)]
    labels = {"n_steps": [1 + i % 3 for i in range(ROWS)], "verb": verbs}
    write_parquet(folder / "examples.parquet", pd.DataFrame({"question": questions, "answer": answers, **labels}))
    put_tokens(workspace)
    scratch = root.parent / "scratch"
    train_grid(workspace, scratch, "both", presets=("corrected", "published"), seeds=(0, 1), epochs=3)
    train_grid(workspace, scratch, "tokens", presets=("published",), k=(2,), d_sae=(16,), activations="tokens")
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    for run in workspace.experiment("both").runs():
        alive = ~run.features()["dead"].to_numpy(bool)
        table, made = decoder_map(run.weights()["W_dec"], alive, method="pca")
        write_json(run.folder / "map.json", {**made, "method": "umap"})
        write_parquet(run.folder / "map.parquet", table)
    workspace.database.close()
    return workspace


def put_tokens(workspace: Workspace, sentences: int = 40, d_in: int = 12) -> None:
    """A row a word: each word has a direction of its own, so that features stand for words."""
    generator = np.random.default_rng(1)
    directions = generator.standard_normal((len(WORDS), d_in))
    rows, texts, x = [], [], []
    for example in range(sentences):
        chosen = generator.integers(len(WORDS), size=8)
        at = 0
        for token, word in enumerate(chosen):
            end = at + len(WORDS[word])
            rows.append((example, "validation" if example % 5 == 4 else "train", token, at, end))
            x.append(directions[word] * (1 + generator.random()) + 0.05 * generator.standard_normal(d_in))
            at = end + 1
        texts.append(" ".join(WORDS[word] for word in chosen))
    folder = workspace.activations_folder("tokens")
    folder.mkdir(parents=True)
    array = np.array(x, np.float32)
    np.save(folder / "activations.npy", array)
    columns = ["example", "split", "token", "char_start", "char_end"]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], np.int32) | {"example": np.int32})
    write_parquet(folder / "rows.parquet", table)
    write_parquet(folder / "examples.parquet", pd.DataFrame({"question": texts, "answer": "#### 1"}))
    known = {
        "format": 1, "name": "tokens", "created": "2026-11-21T00:00:00+00:00", "kind": "capture", "model": None,
        "problems": None, "text": "question", "positions": "all", "layers": None, "dtype": "float32", "d_in": d_in,
        "n_rows": len(array), "n_examples": sentences,
        "slices": [{"layer": None, "position": None, "start": 0, "stop": len(array)}],
        "sha256": file_sha256(folder / "activations.npy"), "seconds": 0.1, "versions": {},
        "split": {"method": "every fifth", "seed": None, "counts": {}},
    }  # fmt: skip
    write_json(folder / "manifest.json", known)


def fail(workspace: Workspace, run: str, error: str = "training diverged: take a smaller lr") -> None:
    """Leave of a run what a failed one leaves."""
    folder = workspace.run_folder(run)
    for name in os.listdir(folder):
        if name != "config.json":
            (folder / name).unlink()
    write_json(folder / "error.json", {"error": error})
