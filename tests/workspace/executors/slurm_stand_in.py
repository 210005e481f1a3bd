"""Stands in for SLURM's commands: `install` puts sbatch, srun, sacct and scancel into a folder for PATH.

It runs job arrays on this machine, as many tasks at once as `--array=...%N` says, and keeps what it does in a folder:
`ID_INDEX.state` (as sacct calls it) and `ID_INDEX.pid` (a process group of its own).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def install(folder: Path) -> None:
    """Write the four commands into `folder`; their state stands beside them."""
    folder.mkdir(parents=True)
    for name in ("sbatch", "srun", "sacct", "scancel"):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} {folder} "$@"\n', encoding="utf-8")
        path.chmod(0o755)


def sbatch(where: Path, script: str) -> None:
    number = 1000 + len(list(where.glob("*.job")))
    (where / f"{number}.job").touch()
    text = Path(script).read_text(encoding="utf-8")
    found = re.search(r"^#SBATCH --array=0-(\d+)%(\d+)$", text, re.MULTILINE)
    count, at_once = (int(found[1]) + 1, int(found[2])) if found else (1, 1)
    tasks = [f"{number}_{index}" for index in range(count)] if found else [str(number)]
    for task in tasks:
        (where / f"{task}.state").write_text("PENDING")
    kept = where / f"{number}.sh"
    kept.write_text(text, encoding="utf-8")
    subprocess.Popen(
        [sys.executable, __file__, "run", str(where), str(kept), str(at_once), *tasks],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(f"Submitted batch job {number}")


def run(where: Path, script: str, at_once: str, *tasks: str) -> None:
    waiting = list(tasks)
    running: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or running:
        for task in [t for t in waiting if (where / f"{t}.state").read_text() != "PENDING"]:
            waiting.remove(task)
        while waiting and len(running) < int(at_once):
            task = waiting.pop(0)
            number, _, index = task.partition("_")
            array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index} if index else {}
            names = ("PROCID", "LOCALID", "NODEID")
            environment = {
                **os.environ,
                **array,
                **{f"SLURM_{name}": "0" for name in names},
                "SLURM_JOB_ID": f"{number}{index}",
                "SLURM_NTASKS": "1",
                "SLURM_JOB_NUM_NODES": "1",
            }
            running[task] = subprocess.Popen(["bash", script], env=environment, start_new_session=True)
            (where / f"{task}.pid").write_text(str(running[task].pid))
            (where / f"{task}.state").write_text("RUNNING")
        for task, process in list(running.items()):
            if (code := process.poll()) is not None:
                (where / f"{task}.state").write_text(
                    "NODE_FAIL" if code == -signal.SIGKILL else "FAILED" if code else "COMPLETED"
                )
                del running[task]
        time.sleep(0.1)


def srun(where: Path, *words: str) -> None:
    left = list(words)
    while left and left[0].startswith("--"):
        del left[: 1 if left[0] == "--unbuffered" else 2]
    os.execvp(left[0], left)


def sacct(where: Path, *words: str) -> None:
    asked = [word for before, word in zip(words, words[1:], strict=False) if before == "-j"]
    print("JobID|State|NodeList")
    for path in sorted(where.glob("*.state")):
        if path.stem.partition("_")[0] in asked:
            print(f"{path.stem}|{path.read_text()}|here")


def scancel(where: Path, task: str, *words: str) -> None:
    state = where / f"{task}.state"
    if state.read_text() == "PENDING":
        state.write_text("CANCELLED by 0")
    elif state.read_text() == "RUNNING":
        os.killpg(int((where / f"{task}.pid").read_text()), signal.SIGTERM)


COMMANDS: dict[str, Callable[..., None]] = {
    "sbatch": sbatch,
    "run": run,
    "srun": srun,
    "sacct": sacct,
    "scancel": scancel,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
