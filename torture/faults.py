"""`kill -9` of app, supervisor and child at random moments: what comes out is what comes out undisturbed.

    python -m torture.faults --kills 100 --seed 0 --out faults.json

After every kill, what shows as finished must be whole, and nothing that was finished may be gone.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.workspace import Workspace
from sae.workspace.start import start_experiment
from torture.shared import answers, finished, report, spec, start_app, start_supervisor, until, with_rows, work_off

PORT = 8991
EPOCHS = 60
LONGEST = 6.0  # s between kills


class Disturbed:
    """A workspace with an app and a supervisor that are killed and started again, and sweeps that follow each other."""

    def __init__(self, workspace: Workspace, app: bool) -> None:
        self.workspace = workspace
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.parts = ["supervisor", "child", *(["app"] if app else [])]
        self.sweep = -1
        self.asked_again = 0
        self.job = ""
        self.keep_up()

    def keep_up(self) -> None:
        """What is gone starts again, as a service manager and a user would see to it."""
        for name, start in (("supervisor", start_supervisor), ("app", lambda one: start_app(one, PORT))):
            if name in self.parts and (name not in self.processes or self.processes[name].poll() is not None):
                self.processes[name] = start(self.workspace)
        status = self.workspace.jobs.get(self.job).status if self.job else "done"
        if status == "done":
            self.sweep += 1
        if status == "failed":
            self.asked_again += 1
        if status in ("done", "failed"):
            name = f"sweep-{self.sweep}"
            self.job = start_experiment(self.workspace, spec(name, self.sweep, EPOCHS), device="cpu").id

    def kill(self, part: str) -> bool:
        """Whether there was something to kill."""
        if part == "child":
            job = self.workspace.jobs.get(self.job)
            if job.status != "running" or not job.pid:
                return False
            try:
                os.kill(job.pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
            return True
        self.processes[part].kill()
        self.processes[part].wait()
        return True

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
            process.wait()


def trial(folder: Path, kills: int, seed: int, app: bool = True) -> dict[str, Any]:
    """Kill until it was done `kills` times, let the sweep under way end, and hold all weights against undisturbed ones.

    Raises:
        AssertionError: if something finished is lost or half-written, or weights differ.
    """
    draw = random.Random(seed)
    began = time.monotonic()
    disturbed = Disturbed(with_rows(folder / "disturbed"), app)
    counts: Counter[str] = Counter()
    kept: dict[str, str] = {}
    errors: list[str] = []
    try:
        while sum(counts.values()) < kills:
            time.sleep(draw.uniform(0.1, LONGEST))
            part = draw.choice(disturbed.parts)
            if disturbed.kill(part):
                counts[part] += 1
            now = finished(disturbed.workspace)
            lost = {run for run, digest in kept.items() if now.get(run) != digest}
            assert not lost, f"after {sum(counts.values())} kills these are gone or changed: {sorted(lost)}"
            kept = now
            try:
                disturbed.keep_up()
            except UserError as error:
                errors.append(str(error))
        if app:
            until(lambda: answers(PORT), "the app answers")
        while True:
            disturbed.keep_up()
            last = disturbed.sweep
            until(lambda: not disturbed.workspace.jobs.get(disturbed.job).active, "the last sweep ends", 1800)
            if disturbed.workspace.jobs.get(disturbed.job).status == "done" and disturbed.sweep == last:
                break
    finally:
        disturbed.end()
    calm = with_rows(folder / "calm")
    for sweep in range(disturbed.sweep + 1):
        job = start_experiment(calm, spec(f"sweep-{sweep}", sweep, EPOCHS), device="cpu")
        work_off(calm, job.id)
        assert calm.jobs.get(job.id).status == "done"
    mine, theirs = finished(disturbed.workspace), finished(calm)
    assert mine == theirs, f"weights differ: {sorted(run for run in theirs if mine.get(run) != theirs[run])}"
    return {
        "kills": dict(counts), "sweeps": disturbed.sweep + 1, "runs": len(mine), "same_weights": mine == theirs,
        "asked_again": disturbed.asked_again, "errors_shown": errors, "seconds": round(time.monotonic() - began),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report("faults", trial(Path(folder), arguments.kills, arguments.seed), arguments.out)


if __name__ == "__main__":
    main()
