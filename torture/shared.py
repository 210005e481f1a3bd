"""What the long trials have in common: workspaces with planted rows, processes of the real product, what must hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sae.common.files import file_sha256
from sae.workspace import Workspace
from sae.workspace.supervisor import Supervisor

ROWS, WIDTH = 6_000, 64


def environment(workspace: Workspace) -> dict[str, str]:
    named = {"SAE_WORKSPACE": str(workspace.root), "SAE_THREADS": "1", "OMP_NUM_THREADS": "1", "SAE_DEMO": "off"}
    return {**os.environ, **named}


def command(workspace: Workspace, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`python -m sae WORDS`. Raises RuntimeError with its last line if it fails and `check`."""
    done = subprocess.run(
        [sys.executable, "-m", "sae", *words], env=environment(workspace), capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise RuntimeError(f"sae {' '.join(words)}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return done


def with_rows(folder: Path) -> Workspace:
    """A new workspace with planted activations under the name `rows`."""
    workspace = Workspace(folder)
    command(workspace, "activations", "planted", "--rows", str(ROWS), "--d-in", str(WIDTH), "--name", "rows")
    return workspace


def spec(name: str, seed: int, epochs: int) -> dict[str, Any]:
    """A grid of six SAEs."""
    return {
        "kind": "topk-grid", "name": name, "activations": "rows", "layer": None, "position": None,
        "factors": {"k": [4, 8, 16], "d_sae": [128, 256], "seed": [seed]}, "settings": {"epochs": epochs},
    }  # fmt: skip


def start_supervisor(workspace: Workspace) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "sae", "supervisor", "--device", "cpu"]
    return subprocess.Popen(words, env=environment(workspace), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def work_off(workspace: Workspace, job: str) -> None:
    """Carry out one job under a supervisor of this process, and none that it queues: nobody looks at its maps."""
    with patch.dict(os.environ, environment(workspace)):
        Supervisor(workspace, "cpu", only=job).run()


def start_app(workspace: Workspace, port: int) -> subprocess.Popen[bytes]:
    words = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        "--server.port",
        str(port),
        "--server.headless",
        "true",
    ]
    return subprocess.Popen(words, env=environment(workspace), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def answers(port: int) -> bool:
    """Whether the app on that port says that it is well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def until(true: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Wait. Raises TimeoutError that names what did not come true."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


def finished(workspace: Workspace) -> dict[str, str]:
    """By run the digest of its weights, of every run that shows as finished.

    Raises:
        AssertionError: for a run that shows as finished and is not whole: a file that is missing, or another than its
            metrics say.
    """
    found = {}
    for experiment in Workspace(workspace.root).experiments():
        for run in experiment.runs():
            if run.done:
                for name, digest in run.results["sha256"].items():
                    assert file_sha256(run.folder / name) == digest, f"{run.id}: {name} is not what its metrics say"
                assert len(run.features()) == run.config["model"]["d_sae"], f"{run.id}: its features are not whole"
                found[run.id] = str(run.results["sha256"]["weights.safetensors"])
    return found


def report(name: str, result: dict[str, Any], out: Path | None) -> None:
    """On standard output, and in a file where one is asked for."""
    text = json.dumps({"trial": name, **result}, indent=1)
    print(text)
    if out is not None:
        out.write_text(text + "\n")
