"""A task is a part of a job that runs elsewhere: again a command, a JSON spec and a folder, within the job's folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import read_json, write_json

FOLDER = "tasks"
CANCELLED = 3  # the exit code of a child that was asked to stop
_STOP_SECONDS = 8.0  # that a child has to write its checkpoint


@dataclass(frozen=True)
class Task:
    """A task of a job, as files: `spec.json`, `state.json` (`status`, and once it ended `code`), `progress.json`,
    `log.txt`, `error.json`. The tasks' machines read and write these and nothing of the workspace's index, since
    SQLite must not be opened from several machines.

    Attributes:
        folder: `jobs/ID/tasks/NAME`.
        weight: its share of the job, in the units of the job's progress.
    """

    folder: Path
    weight: float = 1.0

    @property
    def name(self) -> str:
        return self.folder.name

    def write(self, kind: str, device: str, spec: dict[str, Any]) -> None:
        """Put what is to be done into the folder; a task that is there already keeps its state."""
        if not (self.folder / "state.json").exists():
            write_json(self.folder / "spec.json", spec)
            self.set_state(kind=kind, device=device, status="queued")

    @property
    def state(self) -> dict[str, Any]:
        return read_json(self.folder / "state.json")

    def set_state(self, **changes: Any) -> None:
        before = self.state if (self.folder / "state.json").exists() else {}
        write_json(self.folder / "state.json", {**before, **changes, "time": time.time()})

    @property
    def code(self) -> int | None:
        """The exit code once it has ended; None before."""
        state = self.state
        return state["code"] if state["status"] == "ended" else None

    @property
    def error(self) -> str:
        path = self.folder / "error.json"
        return read_json(path)["error"] if path.exists() else f"it ended with exit code {self.code}"

    def progress(self) -> dict[str, Any]:
        """As of a job; {} before the first word."""
        try:
            return read_json(self.folder / "progress.json")
        except UserError:
            return {}


def is_task(folder: Path) -> bool:
    """Whether a job's folder is that of one task of a larger job."""
    return folder.parent.name == FOLDER


def called_off(task_folder: Path) -> bool:
    """Whether the job of a task was cancelled or has ended; what a task asks about every second."""
    try:
        state = read_json(task_folder.parent.parent / "state.json")
    except UserError:
        return True  # the job was deleted
    return bool(state["cancel"]) or state["status"] in ("cancelled", "failed", "done")


def environment_of_tasks(workspace: Path, threads: int) -> dict[str, str]:
    """What a task's process has in its environment beside its machine's own."""
    root = str(Path(__file__).resolve().parents[3])
    kept = {key: value for key, value in os.environ.items() if key.startswith(("SAE_", "HF_"))}
    return {
        **kept,
        "SAE_WORKSPACE": str(workspace),
        "SAE_EXECUTOR": "local",  # a task does its part itself
        "SAE_THREADS": str(threads),  # the same on every machine, so that results are
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")])),
        "PYTHONUNBUFFERED": "1",
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "10000"),
    }


class TaskCommand:
    """What an executor runs on a machine of its own: the command of a task, to its end; returns the exit code.

    The child holds the reading end of a pipe whose writing end this process has, so that it ends with it, however
    that dies. Has what submitit needs to queue it again when its time is up (`checkpoint`).
    """

    def __init__(self, folder: str, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self._child: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "environment": self.environment, "_child": None}

    def __call__(self) -> int:
        task = Task(Path(self.folder))
        if called_off(task.folder):
            task.set_state(status="ended", code=CANCELLED)
            return CANCELLED
        task.set_state(status="running", host=socket.gethostname(), pid=os.getpid())
        (task.folder / "error.json").unlink(missing_ok=True)
        with open(task.folder / "log.txt", "ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "sae.workspace.child", str(task.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        try:
            while self._child.poll() is None:  # short waits: an interrupt arrives between them
                time.sleep(0.1)
        finally:
            self._stop()
        code = self._child.returncode
        task.set_state(status="ended", code=code)
        return code

    def checkpoint(self) -> Any:
        """Its time is up: the child writes its checkpoint, and the same command goes to the queue again."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        Task(Path(self.folder)).set_state(status="queued")
        return DelayedSubmission(TaskCommand(self.folder, self.environment))

    def _stop(self) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
