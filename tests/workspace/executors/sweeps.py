"""What the tests of executors share: a sweep in groups, what its log says of each run, processes that must be gone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import psutil

from sae.workspace import Workspace
from sae.workspace.jobs import Job


def sweep(name: str = "grid", epochs: int = 2, d_sae: tuple[int, ...] = (32, 40, 48), k: tuple[int, ...] = (2, 4)):
    """A grid over the rows of `put_activations`: a group for each d_sae, a run for each K in it."""
    return {
        "kind": "topk-grid",
        "name": name,
        "activations": "rows",
        "layer": None,
        "position": None,
        "factors": {"d_sae": list(d_sae), "k": list(k)},
        "settings": {"epochs": epochs, "batch_size": 16},
    }


def weights(workspace: Workspace, name: str = "grid") -> dict[str, bytes]:
    return {run.id: (run.folder / "weights.safetensors").read_bytes() for run in workspace.experiment(name).runs()}


def told(job: Job, word: str) -> Counter[str]:
    """How often the tasks of a job say that a run `begins` or `is finished`."""
    logs = [path.read_text(encoding="utf-8") for path in (job.folder / "tasks").glob("*/log.txt")]
    return Counter(re.findall(rf" run (\S+) {word} on ", "\n".join(logs)))


def children_of(folder: Path) -> list[psutil.Process]:
    """Processes that work in a job's folder or in one of its tasks."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "sae.workspace.child" in words and any(word.startswith(str(folder)) for word in words):
            found.append(process)
    return found
