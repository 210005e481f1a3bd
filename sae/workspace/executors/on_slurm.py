"""Tasks as a SLURM job array, through submitit. They wait and run without us: a later driver finds them again."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.workspace.executors.tasks import Task, TaskCommand

_ASK_SECONDS = 15.0  # between questions to sacct, which is slow and shared by all users
_STOP_SECONDS = 8.0
_NUMBER = "cluster_job.json"  # not in state.json, which the task writes as soon as it starts
#: What sacct calls a job that will not run any more. A preempted one is queued again.
_OVER = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "REVOKED",
    "TIMEOUT",
}


class SlurmEngine:
    """One array task for each of ours; that they ended, and how, is read from their folders on shared storage.

    Which array task stands for which task is kept in the task's folder: a driver that comes after a killed one
    follows what waits or runs already, and a job's place in SLURM's queue is not lost.

    Args:
        settings: of `slurm` in `executor.json`.
        environment: of the tasks' processes.
        job: the job's folder; submitit keeps its files in `slurm/` there.

    Raises:
        UserError: if there is no SLURM here, or submitit does not take an option.
    """

    def __init__(self, settings: dict[str, Any], environment: dict[str, str], job: Path) -> None:
        import submitit

        logging.getLogger("submitit").setLevel(logging.ERROR)
        self._settings, self._environment = settings, environment
        self._jobs: dict[str, Any] = {}
        self._asked = time.monotonic()
        self._suspects: set[str] = set()
        self._folder = job / "slurm"
        try:
            self._executor = submitit.AutoExecutor(folder=self._folder, cluster=settings["cluster"])
            self._executor.update_parameters(**self._parameters(job.name))
        except (RuntimeError, ValueError, NameError, AssertionError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"SLURM can't be used from here ({said}): start the supervisor on a login node") from None

    def _parameters(self, name: str) -> dict[str, Any]:
        said = self._settings
        optional = {
            "mem_gb": said["memory_gb"],
            "slurm_partition": said["partition"],
            "slurm_account": said["account"],
            "slurm_qos": said["qos"],
            "slurm_setup": said["setup"] or None,
            "slurm_additional_parameters": said["options"] or None,
        }
        return {
            "name": f"sae-{name}",
            "timeout_min": said["minutes"],
            "cpus_per_task": said["cpus"],
            "gpus_per_node": said["gpus"],
            "slurm_array_parallelism": said["at_once"],
            **{key: value for key, value in optional.items() if value is not None},
        }

    def submit(self, tasks: list[Task]) -> None:
        new = []
        for task in tasks:
            known = _number(task) if task.state["status"] in ("queued", "running") else None
            if known and task.name not in self._jobs and self._follow(task, known):
                print(f"task {task.name} is under way as {known}")
            else:
                new.append(task)
        if not new:
            return
        # On this machine tasks inherit our environment, on a node sbatch brings it: both must find our package.
        os.environ["PYTHONPATH"] = self._environment["PYTHONPATH"]
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(TaskCommand(str(task.folder), self._environment)) for task in new]
        except Exception as error:  # submitit's FailedJobError, and what sbatch makes of a bad option
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UserError(f"sbatch refused the tasks ({said}): correct the executor's settings") from None
        for task, job in zip(new, jobs, strict=True):
            self._jobs[task.name] = job
            write_json(task.folder / _NUMBER, job.job_id)

    def _follow(self, task: Task, known: str) -> bool:
        import submitit

        if self._settings["cluster"] == "local":
            if not _is_controller(known, self._folder):
                return False
            self._jobs[task.name] = submitit.LocalJob(folder=self._folder, job_id=known)
            return True
        job: Any = submitit.SlurmJob(folder=self._folder, job_id=known)
        if _over(job.watcher.get_state(known, mode="force")):
            return False
        self._jobs[task.name] = job
        return True

    def ended(self, tasks: list[Task]) -> dict[str, int | None]:
        found: dict[str, int | None] = {task.name: task.code for task in tasks if task.code is not None}
        if time.monotonic() - self._asked > (_ASK_SECONDS if self._settings["cluster"] == "slurm" else 1.0):
            self._asked = time.monotonic()
            left = [task for task in tasks if task.name in self._jobs and task.name not in found]
            gone = {task.name for number, task in enumerate(left) if self._gone(task, ask=number == 0)}
            # Twice: what it wrote last may reach us after SLURM's word that it is over.
            found |= {task.name: task.code for task in tasks if task.name in gone & self._suspects}
            self._suspects = gone
        for name in found:
            self._jobs.pop(name, None)
        return found

    def _gone(self, task: Task, ask: bool) -> bool:
        """`ask`: sacct, about all tasks at once; its answer is kept."""
        job = self._jobs[task.name]
        if self._settings["cluster"] == "local":
            return not _is_controller(job.job_id, self._folder)
        return _over(job.watcher.get_state(job.job_id, mode="force" if ask else "cache"))

    def stop(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task.state["status"] == "queued":
                self._cancel(task)
        end = time.monotonic() + _STOP_SECONDS
        left = [task for task in tasks if task.state["status"] == "running"]
        while left and time.monotonic() < end:  # they see that their job was cancelled, and write their checkpoints
            time.sleep(0.3)
            left = [task for task in left if task.code is None]
        for task in left:
            self._cancel(task)

    def _cancel(self, task: Task) -> None:
        job = self._jobs.get(task.name)
        if job is not None:
            job.cancel(check=False)

    def leave(self, tasks: list[Task]) -> None:
        """They go on; the next driver of the job follows them."""


def _number(task: Task) -> str | None:
    """SLURM's number of a task that was submitted before."""
    path = task.folder / _NUMBER
    return str(read_json(path)) if path.exists() else None


def _over(state: str) -> bool:
    return bool(state) and state.split()[0].rstrip("+") in _OVER


def _is_controller(pid: str, folder: Path) -> bool:
    """Whether a process is a controller of this folder's tasks; submitit can't tell of one that it did not start."""
    import psutil

    try:
        process = psutil.Process(int(pid))
        return process.status() != psutil.STATUS_ZOMBIE and str(folder) in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
