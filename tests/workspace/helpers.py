"""Small activations in a workspace, and a supervisor as a process of its own."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd

from sae.common.files import file_sha256, write_json, write_parquet


def put_activations(workspace, name="rows", n=600, d_in=24, seed=0):
    """Rows of a planted dictionary with a mean, 80/20, written as the workspace keeps them."""
    generator = np.random.default_rng(seed)
    atoms = generator.standard_normal((3 * d_in, d_in))
    weights = generator.random((n, 3 * d_in)) * (generator.random((n, 3 * d_in)) < 0.06)
    x = (weights @ atoms + 3).astype(np.float32)
    folder = workspace.activations_folder(name)
    folder.mkdir(parents=True)
    np.save(folder / "activations.npy", x)
    split = np.where(np.arange(n) % 5 == 4, "validation", "train")
    write_parquet(folder / "rows.parquet", pd.DataFrame({"example": np.arange(n, dtype=np.int32), "split": split}))
    write_parquet(folder / "examples.parquet", pd.DataFrame({"question": [f"question {i}" for i in range(n)]}))
    write_json(
        folder / "manifest.json",
        {
            "format": 1,
            "name": name,
            "created": "2026-11-22T00:00:00+00:00",
            "kind": "import",
            "model": None,
            "problems": None,
            "text": None,
            "positions": None,
            "layers": None,
            "dtype": "float32",
            "d_in": d_in,
            "n_rows": n,
            "n_examples": n,
            "slices": [{"layer": None, "position": None, "start": 0, "stop": n}],
            "sha256": file_sha256(folder / "activations.npy"),
            "seconds": 0.1,
            "versions": {},
            "split": {"method": "every fifth", "seed": None, "counts": {"train": n * 4 // 5, "validation": n // 5}},
        },
    )
    return x


class SupervisorProcess:
    def __init__(self, workspace, *options):
        environment = {**os.environ, "SAE_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sae",
                "supervisor",
                "--device",
                "cpu",
                "--workspace",
                str(workspace.root),
                *options,
            ],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        self.process.terminate()
        return self.process.wait(timeout=20)


def until(condition, seconds=240.0):
    """Wait for `condition` to hold; its value is returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"did not come true within {seconds} s")
