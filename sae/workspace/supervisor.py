"""One supervisor a device takes jobs under a lease and runs each as a child process.

The child holds the reading end of a pipe whose writing end only this process has: when the supervisor dies, however it
dies, the pipe closes and the child ends itself, so that a job never runs on unattended while another supervisor starts
it again. With another executor than `local` the child hands the work on, in tasks, and follows them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.workspace.access import require_change
from sae.workspace.executors.configuration import GRACE, REMOTE_GRACE, configured
from sae.workspace.folder import Workspace
from sae.workspace.jobs import Job, owner_name
from sae.workspace.processes import command, count_of

POLL = 0.2  # s between looks at the queue, the child and requests to cancel
ATTEMPTS = 3  # a job that takes its process down with it at one place is not tried for ever


def default_device() -> str:
    """The device that `auto` stands for, found without importing torch: the child checks it again with torch."""
    if sys.platform == "darwin" and os.uname().machine == "arm64":
        return "mps"
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False)
        return "cuda:0" if listed.returncode == 0 and listed.stdout.strip() else "cpu"
    except (OSError, subprocess.TimeoutExpired):
        return "cpu"


class Supervisor:
    """Runs the queue of a workspace on one device.

    Args:
        only: run just this job and return (the command line's foreground).
        idle_exit: end after so many seconds without work; None to stay.
    """

    def __init__(
        self, workspace: Workspace, device: str = "auto", *, only: str | None = None, idle_exit: float | None = None
    ) -> None:
        self.workspace, self.only, self.idle_exit = workspace, only, idle_exit
        self.device = default_device() if device == "auto" else "cuda:0" if device == "cuda" else device
        self.owner = owner_name()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask it to end: the running job goes back to the queue at its last checkpoint."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped, idle for too long, or (with `only`) until that job has ended.

        Raises:
            UserError: if another supervisor has the device, or this process is read-only.
        """
        require_change("running jobs")
        jobs = self.workspace.jobs
        if not jobs.acquire(self.device, self.owner):
            raise UserError(f"a supervisor already works on {self.device} in {self.workspace.root}")
        last_work = last_beat = time.monotonic()
        try:
            jobs.recover()
            while not self._stop.is_set():
                if time.monotonic() - last_beat > 1:
                    last_beat = time.monotonic()
                    if not jobs.acquire(self.device, self.owner):
                        return  # the lease was taken over: this process was thought dead
                    jobs.recover()
                job = jobs.claim(self.owner, self.device, self.only)
                if job is not None:
                    self._run(job)
                    last_work = time.monotonic()
                elif self._nothing_left(time.monotonic() - last_work):
                    return
                else:
                    self._stop.wait(POLL)
        finally:
            jobs.release(self.device, self.owner)

    def _nothing_left(self, idle: float) -> bool:
        if self.only is not None:
            return not self.workspace.jobs.get(self.only).active
        return self.idle_exit is not None and idle > self.idle_exit

    def _run(self, job: Job) -> None:
        jobs = self.workspace.jobs
        attempt = _count_attempt(job)
        if attempt > ATTEMPTS:
            jobs.finish(job.id, "failed", f"it took its process down {ATTEMPTS} times at one place; the log says more")
            return
        reading, writing = os.pipe()
        with open(job.folder / "log.txt", "ab") as log:
            child = subprocess.Popen(
                [sys.executable, *command(job.spec), str(job.folder), "--device", self.device],
                stdin=reading,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment(),
            )
        os.close(reading)
        jobs.set_pid(job.id, child.pid)
        try:
            self._watch(job, child)
        finally:
            os.close(writing)

    def _watch(self, job: Job, child: subprocess.Popen[bytes]) -> None:
        jobs = self.workspace.jobs
        asked_at = last_beat = grace = 0.0
        ends_as = ""  # once it was asked to end: the status that it then has
        while child.poll() is None:
            now = time.monotonic()
            if now - last_beat > 1:
                last_beat = now
                if not jobs.acquire(self.device, self.owner):
                    child.kill()
                    child.wait()
                    return
            if not ends_as:
                if jobs.get(job.id).cancel:
                    ends_as = "cancelled"
                elif self._stop.is_set() or jobs.more_urgent(job, self.device):
                    ends_as = "queued"  # maps, for which nobody waits, step aside for training
                if ends_as:
                    asked_at, grace = now, self._grace(job)
                    child.send_signal(signal.SIGTERM)
            elif now - asked_at > grace:
                child.kill()
            time.sleep(0.05 if ends_as else POLL)
        if child.returncode == 0:
            jobs.finish(job.id, "done")
        elif ends_as:
            _count_attempt(job, reset=True)
            jobs.finish(job.id, ends_as)
        elif child.returncode > 0 and not self._lost_a_process(job):
            error = job.folder / "error.json"
            line = read_json(error)["error"] if error.exists() else f"it ended with exit code {child.returncode}"
            jobs.finish(job.id, "failed", line)
        else:  # killed by a signal (out of memory, say): it resumes at its checkpoint
            ended = f"by signal {-child.returncode}" if child.returncode < 0 else "before the others"
            jobs.finish(job.id, "queued", f"its process was ended {ended}")

    def _lost_a_process(self, job: Job) -> bool:
        """Whether one of several processes was killed: torchrun then ends with 1, and nobody has written an error."""
        return count_of(job.spec) > 1 and not (job.folder / "error.json").exists()

    def _grace(self, job: Job) -> float:
        """Seconds that a child has to end once it was told."""
        try:
            return REMOTE_GRACE if count_of(job.spec) > 1 else configured(self.workspace).grace
        except UserError:  # the child says so, and ends by itself
            return GRACE

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SAE_WORKSPACE": str(self.workspace.root),
            "PYTHONUNBUFFERED": "1",
            # How long a thread waits awake for the others. With libgomp's default a step takes fifty times as long as
            # soon as anything else, such as a browser, wants a core; with this it is as fast alone, and 2.5 times.
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "10000"),
        }


def _count_attempt(job: Job, reset: bool = False) -> int:
    """How often this job was begun since it last got further than before: what kills it again and again at one place
    (memory, mostly) stops, and what is killed from outside goes on."""
    path = job.folder / "attempts.json"
    kept = {"count": 0, "reached": {}, **(read_json(path) if path.exists() else {})}
    progress = job.progress()
    stage, share = progress.get("stage", ""), progress.get("done", 0) / (progress.get("total") or 1)
    reached = int(100 * share)  # a per cent, so that a job that is begun for ever gets no further for ever
    if reset or reached > kept["reached"].get(stage, 0):
        kept = {"count": 0, "reached": {**kept["reached"], stage: reached}}
    kept["count"] += not reset
    write_json(path, kept)
    return kept["count"]


def ensure_running(workspace: Workspace, device: str = "auto") -> None:
    """Start a supervisor of its own session if none is alive; it outlives the app and ends after ten idle minutes.

    Raises:
        UserError: for a viewer.
    """
    require_change("starting a supervisor")
    if workspace.jobs.supervisors():
        return
    workspace.root.mkdir(parents=True, exist_ok=True)
    with open(workspace.root / "supervisor.log", "ab") as log:
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sae",
                "supervisor",
                "--device",
                device,
                "--idle-exit",
                "600",
                "--workspace",
                str(workspace.root),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
