"""Follows the tasks of a job on whatever runs them: hands them over, shows their progress as the job's, sends out again
what died, stops what is left."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sae.common.errors import Cancelled, UserError
from sae.common.files import read_json
from sae.workspace.executors.tasks import CANCELLED, Task, called_off, environment_of_tasks

if TYPE_CHECKING:
    from sae.workspace.child import JobProgress
    from sae.workspace.executors.configuration import Executor
    from sae.workspace.folder import Workspace

POLL = 0.5  # s between looks
DEATHS = 5  # a task that takes every process down with it is not tried for ever
_TOLD_SECONDS = 1.0  # after which a cancelled job's state.json surely says so


class Engine(Protocol):
    """What runs tasks: Ray or SLURM."""

    def submit(self, tasks: list[Task]) -> None:
        """Hand tasks over; one that an earlier driver handed over and that still waits or runs is followed instead."""

    def ended(self, tasks: list[Task]) -> dict[str, int | None]:
        """By name those that have ended since: the exit code, or None for one that went without a word."""

    def stop(self, tasks: list[Task]) -> None:
        """End these; returns when they are gone or a few seconds have passed."""

    def leave(self, tasks: list[Task]) -> None:
        """This process ends, the job doesn't: what can go on by itself may."""


def engine_for(executor: Executor, workspace: Workspace, job: Path) -> Engine:
    """Raises UserError if the executor's package is missing or nothing answers."""
    executor.check_installed()
    environment = environment_of_tasks(workspace.root, executor.threads)
    if executor.name == "ray":
        from sae.workspace.executors.on_ray import RayEngine

        return RayEngine(executor.settings, environment)
    from sae.workspace.executors.on_slurm import SlurmEngine

    return SlurmEngine(executor.settings, environment, job)


def run_tasks(engine: Engine, tasks: list[Task], progress: JobProgress, stage: str, before: float = 0.0) -> None:
    """Return when all tasks have ended well. Their cells become the job's.

    Args:
        before: what of the job was done before any task, in the units of the tasks' weights.

    Raises:
        Cancelled: when the job was asked to stop.
        UserError: if a task failed, when the others have ended.
    """
    follow = _Followed(tasks, before, progress)
    try:
        progress.update(follow.done, follow.total, "waiting for the cluster")
        engine.submit(list(follow.left.values()))
        while follow.left:
            for name, code in engine.ended(list(follow.left.values())).items():
                again = follow.end(name, code)
                if again is not None:
                    engine.submit([again])
            follow.look()
            running = follow.running
            progress.update(
                follow.done,
                follow.total,
                stage if follow.begun else "waiting for the cluster",
                tasks=f"{running} running, {len(follow.left) - running} waiting, of {len(tasks)}",
            )
            time.sleep(POLL)
        progress.update(follow.done, follow.total, stage)
    except Cancelled:
        # The same request comes when only this process has to end: then state.json, which the queue writes just
        # before or after it, does not say that the job was cancelled.
        if _cancelled(tasks[0]):
            engine.stop(list(follow.left.values()))
        else:
            engine.leave(list(follow.left.values()))
        follow.look()
        raise
    except BaseException:
        engine.stop(list(follow.left.values()))
        raise
    if follow.errors:
        name, error = next(iter(follow.errors.items()))
        more = f" ({len(follow.errors)} of {len(tasks)} tasks failed)" if len(tasks) > 1 else ""
        raise UserError(f"task {name}: {error}{more}")


def make_tasks(job: Path, parts: dict[str, tuple[float, dict[str, Any]]], kind: str) -> list[Task]:
    """Tasks of a job by name, each with its weight and specification; those that are there keep their state."""
    device = read_json(job / "state.json")["device"]  # `auto` is for the task's machine to say
    tasks = []
    for name, (weight, spec) in parts.items():
        task = Task(job / "tasks" / name, weight)
        task.write(kind, device, spec)
        tasks.append(task)
    return tasks


def _cancelled(task: Task) -> bool:
    end = time.monotonic() + _TOLD_SECONDS
    while time.monotonic() < end:
        if called_off(task.folder):
            return True
        time.sleep(0.1)
    return False


class _Followed:
    """Where the tasks of one job are."""

    def __init__(self, tasks: list[Task], before: float, progress: JobProgress) -> None:
        self.tasks, self.before, self.progress = tasks, before, progress
        self.left = {task.name: task for task in tasks}
        self.errors: dict[str, str] = {}
        self.begun = False
        self.running = 0
        self._share = {task.name: 0.0 for task in tasks}
        self._deaths: dict[str, int] = {}
        self._logged: dict[str, int] = {}
        for task in tasks:
            if task.code == 0:  # an earlier driver of this job did not live to see it
                self.end(task.name, 0)
            elif task.code is not None:
                task.set_state(status="queued")

    @property
    def total(self) -> float:
        return self.before + sum(task.weight for task in self.tasks)

    @property
    def done(self) -> float:
        return self.before + sum(task.weight * self._share[task.name] for task in self.tasks)

    def end(self, name: str, code: int | None) -> Task | None:
        """Note how a task ended; returns it if it has to run again."""
        task = self.left[name]
        self._look_at(task)
        if code is None or code < 0 or code == CANCELLED:  # its machine or its process went: its work is on the disk
            self._deaths[name] = self._deaths.get(name, 0) + 1
            print(f"task {name} was lost ({self._deaths[name]} of at most {DEATHS} times)", flush=True)
            if self._deaths[name] < DEATHS:
                task.set_state(status="queued")
                return task
            self.errors[name] = f"its process or machine was lost {DEATHS} times; the log says more"
        elif code:
            self.errors[name] = task.error
        else:
            self._share[name] = 1.0
        del self.left[name]
        return None

    def look(self) -> None:
        """Take over the progress, the cells and the log of tasks that run."""
        going = [task for task in self.left.values() if task.state["status"] != "queued"]
        self.running = len(going)
        self.begun = self.begun or bool(going)
        for task in going:
            self._look_at(task)

    def _look_at(self, task: Task) -> None:
        said = task.progress()
        for run, cell in said.get("cells", {}).items():
            self.progress.cell(run, **cell)
        if said.get("total"):
            self._share[task.name] = max(self._share[task.name], min(1.0, said["done"] / said["total"]))
        self._relay(task)

    def _relay(self, task: Task) -> None:
        """What a task printed since becomes the job's log: whole lines, with the task before them."""
        path = task.folder / "log.txt"
        if not path.exists():
            return
        with open(path, "rb") as file:
            file.seek(self._logged.get(task.name, 0))
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._logged[task.name] = self._logged.get(task.name, 0) + len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            print(f"[{task.name}] {line}")
        sys.stdout.flush()
