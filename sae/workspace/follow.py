"""Runs a job in the foreground: under the supervisor that is there, or under one of our own until the job has ended."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType

from sae.common.errors import Cancelled, UserError
from sae.common.progress import Progress
from sae.workspace.folder import Workspace
from sae.workspace.jobs import Job
from sae.workspace.jobs import wait as wait_for
from sae.workspace.supervisor import Supervisor, default_device


def foreground(workspace: Workspace, job: Job, progress: Progress) -> Job:
    """Return when the job has ended, showing its progress meanwhile. Ctrl-C cancels it.

    Raises:
        UserError: if it failed, with its one line.
        Cancelled: if it was cancelled.
    """
    jobs = workspace.jobs
    stop = threading.Event()

    def interrupted(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    worker: threading.Thread | None = None

    def follow(now: Job) -> None:
        nonlocal worker
        if stop.is_set() and now.active and not now.cancel:
            jobs.cancel(now.id)
        said = now.progress()
        if said:
            progress.update(said["done"], said["total"], said["stage"], **said.get("figures", {}))
        device = default_device() if now.device == "auto" else now.device
        if (worker is None or not worker.is_alive()) and now.active and device not in jobs.supervisors():
            worker = threading.Thread(target=_supervise, args=(workspace, device, now.id), daemon=True)
            worker.start()

    try:
        follow(job)
        job = wait_for(job, jobs, follow)
        if worker is not None:
            worker.join(timeout=5)
    finally:
        signal.signal(signal.SIGINT, before)
    if job.status == "cancelled":
        raise Cancelled
    if job.status == "failed":
        raise UserError(job.error or f"job {job.id} failed; its log is {job.folder / 'log.txt'}")
    return job


def _supervise(workspace: Workspace, device: str, job: str) -> None:
    # If another supervisor was faster, it does the work, and we go on following.
    with contextlib.suppress(UserError):
        Supervisor(workspace, device, only=job).run()
