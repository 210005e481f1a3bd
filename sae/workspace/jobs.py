"""The job queue: a job is a command, a JSON spec and a folder; its state is a line in the index and a file beside."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import check_name, read_json, write_json
from sae.workspace.access import require_change

if TYPE_CHECKING:
    from sqlite3 import Row

    from sae.workspace.folder import Workspace

STATUSES = ("queued", "running", "done", "failed", "cancelled")
LEASE_SECONDS = 15.0  # a lease whose owner can't be asked is stale after this long without a heartbeat


@dataclass(frozen=True)
class Job:
    """A job as the index had it when it was read. Times are seconds since the epoch."""

    id: str
    kind: str
    name: str
    device: str
    priority: int
    status: str
    created: float
    started: float | None
    finished: float | None
    owner: str | None
    pid: int | None
    cancel: bool
    error: str | None
    folder: Path

    @property
    def active(self) -> bool:
        return self.status in ("queued", "running")

    @property
    def spec(self) -> dict[str, Any]:
        return read_json(self.folder / "spec.json")

    def progress(self) -> dict[str, Any]:
        """`stage`, `done`, `total`, `seconds`, `left` (s), `figures`, and by run `cells`; {} before the first word."""
        try:
            return read_json(self.folder / "progress.json")
        except UserError:
            return {}

    def log(self, last: int = 200) -> str:
        """The last lines of what the job printed."""
        try:
            with open(self.folder / "log.txt", "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 64_000))
                return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-last:])
        except FileNotFoundError:
            return ""


class Jobs:
    """The queue of one workspace. Every method is one short transaction."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._database = workspace.database

    def enqueue(self, kind: str, name: str, spec: dict[str, Any], *, device: str = "auto", priority: int = 0) -> Job:
        """Put a job into the queue. An active job of the same kind, name and spec is returned instead of doubled.

        Args:
            priority: lower goes first; what nobody waits for (maps) has a higher number.

        Raises:
            UserError: if an active job has that kind and name but another spec, or for a viewer.
        """
        require_change(f"starting a job ({kind})")
        check_name(name)
        with self._database.write() as connection:
            for row in connection.execute(
                "SELECT * FROM jobs WHERE kind = ? AND name = ? AND status IN ('queued', 'running')", (kind, name)
            ):
                existing = self._job(row)
                if existing.spec == spec and not existing.cancel:
                    return existing
                raise UserError(
                    f"{kind} {name!r} is already under way as job {existing.id}: cancel it or take another name"
                )
            job = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
            write_json(self._folder(job) / "spec.json", spec)
            connection.execute(
                "INSERT INTO jobs (id, kind, name, device, priority, status, created) "
                "VALUES (?, ?, ?, ?, ?, 'queued', ?)",
                (job, kind, name, device, priority, time.time()),
            )
        self._write_state(job)
        return self.get(job)

    def get(self, job: str) -> Job:
        """Raises UserError if there is no such job."""
        rows = self._database.read("SELECT * FROM jobs WHERE id = ?", (job,))
        if not rows:
            raise UserError(f"there is no job {job!r}")
        return self._job(rows[0])

    def all(self, last: int = 100) -> list[Job]:
        """The newest first."""
        return [self._job(r) for r in self._database.read("SELECT * FROM jobs ORDER BY created DESC LIMIT ?", (last,))]

    def active(self) -> list[Job]:
        """Running and queued jobs in the order in which they run."""
        rows = self._database.read(
            "SELECT * FROM jobs WHERE status IN ('queued', 'running') ORDER BY status = 'queued', priority, created"
        )
        return [self._job(row) for row in rows]

    def latest(self, name: str, kind: str | None = None) -> Job | None:
        """The newest job that works on `name`, of `kind` (default: what makes it, so not its maps)."""
        rows = self._database.read(
            "SELECT * FROM jobs WHERE name = ? AND kind = COALESCE(?, kind) AND (? IS NOT NULL OR kind != 'map') "
            "ORDER BY created DESC LIMIT 1",
            (name, kind, kind),
        )
        return self._job(rows[0]) if rows else None

    def cancel(self, job: str) -> None:
        """A queued job is cancelled at once; a running one is told, and its supervisor stops it within a second.

        One whose supervisor is gone has nobody to tell, and is cancelled at once too.

        Raises:
            UserError: for a viewer.
        """
        require_change("stopping a job")
        self.recover()
        now = time.time()
        with self._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET status = 'cancelled', finished = ? WHERE id = ? AND status = 'queued'", (now, job)
            )
            connection.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND status = 'running'", (job,))
        self._write_state(job)

    def claim(self, owner: str, device: str, only: str | None = None) -> Job | None:
        """Take the next queued job for `device` (or just job `only`); the transaction lets one owner have it."""
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT * FROM jobs WHERE status = 'queued' AND device IN ('auto', ?) AND id = COALESCE(?, id) "
                "ORDER BY priority, created LIMIT 1",
                (device, only),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE jobs SET status = 'running', owner = ?, started = COALESCE(started, ?) WHERE id = ?",
                (owner, time.time(), row["id"]),
            )
        self._write_state(row["id"])
        return self.get(row["id"])

    def more_urgent(self, job: Job, device: str) -> bool:
        """Whether a job of higher priority than this one, which runs on `device`, waits for that device."""
        return bool(
            self._database.read(
                "SELECT 1 FROM jobs WHERE status = 'queued' AND priority < ? AND device IN ('auto', ?) LIMIT 1",
                (job.priority, device),
            )
        )

    def set_pid(self, job: str, pid: int) -> None:
        with self._database.write() as connection:
            connection.execute("UPDATE jobs SET pid = ? WHERE id = ?", (pid, job))

    def finish(self, job: str, status: str, error: str | None = None) -> None:
        """Record how it ended: `done`, `failed` with its one line, `cancelled`, or `queued` to run again."""
        assert status in STATUSES
        with self._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET status = ?, error = ?, finished = ?, owner = NULL, pid = NULL, cancel = 0 "
                "WHERE id = ?",
                (status, error, None if status == "queued" else time.time(), job),
            )
        self._write_state(job)

    def recover(self) -> list[str]:
        """Queue again every running job whose owner is gone; a cancelled one ends as cancelled."""
        with self._database.write() as connection:
            holders = {
                row["owner"] for row in connection.execute("SELECT owner, heartbeat FROM leases") if not _stale(row)
            }
            lost = [
                (row["id"], bool(row["cancel"]))
                for row in connection.execute("SELECT * FROM jobs WHERE status = 'running'")
                if row["owner"] not in holders
            ]
            for job, cancelled in lost:
                connection.execute(
                    "UPDATE jobs SET status = ?, owner = NULL, pid = NULL, cancel = 0 WHERE id = ?",
                    ("cancelled" if cancelled else "queued", job),
                )
        for job, _ in lost:
            self._write_state(job)
        return [job for job, _ in lost]

    # leases: one supervisor a device

    def acquire(self, device: str, owner: str) -> bool:
        """Take or renew the lease of `device`; False while somebody else alive has it."""
        with self._database.write() as connection:
            row = connection.execute("SELECT owner, heartbeat FROM leases WHERE device = ?", (device,)).fetchone()
            if row is not None and row["owner"] != owner and not _stale(row):
                return False
            connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (device, owner, time.time()))
            return True

    def release(self, device: str, owner: str) -> None:
        with self._database.write() as connection:
            connection.execute("DELETE FROM leases WHERE device = ? AND owner = ?", (device, owner))

    def supervisors(self) -> list[str]:
        """Devices whose supervisor is alive."""
        return [row["device"] for row in self._database.read("SELECT * FROM leases") if not _stale(row)]

    # the files beside the index

    def rebuild(self) -> int:
        """Bring back jobs that the index does not know from their folders; returns how many."""
        known = {row["id"] for row in self._database.read("SELECT id FROM jobs")}
        parent = self.workspace.root / "jobs"
        lost = [f for f in sorted(parent.glob("*")) if f.name not in known and (f / "state.json").exists()]
        with self._database.write() as connection:
            for folder in lost:
                state = read_json(folder / "state.json")
                if state["status"] == "running":  # whoever ran it was not of this index
                    state |= {"status": "queued", "owner": None, "pid": None}
                columns = (
                    "id",
                    "kind",
                    "name",
                    "device",
                    "priority",
                    "status",
                    "created",
                    "started",
                    "finished",
                    "error",
                )
                connection.execute(
                    f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                    tuple(state[column] for column in columns),
                )
        return len(lost)

    def _write_state(self, job: str) -> None:
        rows = self._database.read("SELECT * FROM jobs WHERE id = ?", (job,))
        if rows:
            write_json(self._folder(job) / "state.json", dict(rows[0]))

    def _folder(self, job: str) -> Path:
        return self.workspace.root / "jobs" / check_name(job, "job id")

    def _job(self, row: Row) -> Job:
        values = {key: row[key] for key in row.keys()}  # noqa: SIM118 (a Row iterates its values)
        return Job(**{**values, "cancel": bool(values["cancel"])}, folder=self._folder(row["id"]))


def owner_name() -> str:
    """Names this process so that another can tell whether it lives: host, pid, and the pid's start time."""
    import psutil

    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def _stale(row: Row) -> bool:
    host, pid, started = row["owner"].rsplit(":", 2)
    if host == socket.gethostname():
        import psutil

        try:
            process = psutil.Process(int(pid))
            return abs(process.create_time() - float(started)) > 1 or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
    return abs(time.time() - row["heartbeat"]) > LEASE_SECONDS


def wait(job: Job, jobs: Jobs, each: Callable[[Job], None], every: float = 0.3) -> Job:
    """Follow a job until it ends, calling `each` with its newest state."""
    while job.active:
        time.sleep(every)
        job = jobs.get(job.id)
        each(job)
    return job
