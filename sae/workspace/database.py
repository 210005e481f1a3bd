"""The SQLite file of a workspace: one connection a thread, WAL, short transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sae.common.errors import UserError
from sae.workspace.access import read_only

# Everything here can be made again from the files (`python -m sae workspace rebuild`), but the leases, which are only
# true while their owner lives.
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, device TEXT NOT NULL, priority INTEGER NOT NULL,
    status TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL,
    owner TEXT, pid INTEGER, cancel INTEGER NOT NULL DEFAULT 0, error TEXT);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, priority, created);
CREATE TABLE IF NOT EXISTS leases (device TEXT PRIMARY KEY, owner TEXT NOT NULL, heartbeat REAL NOT NULL);
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, modified INTEGER NOT NULL, line TEXT NOT NULL);
"""


class Database:
    """Connections to one SQLite file. SQLite connections belong to a thread, and pages run on many."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        if read_only():
            return self._reader()
        existing = getattr(self._local, "connection", None)
        if existing is not None and self.path.exists():
            return existing
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"{self.path} can't be opened ({error}): is its folder writable? SAE_READ_ONLY=1 shows a workspace "
                "that can't be written to"
            ) from None
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise UserError(
                f"{self.path} can't be read as the workspace's index ({error}); "
                "'python -m sae workspace rebuild' makes it again from the files"
            ) from None
        self._local.connection = connection
        return connection

    def _reader(self) -> sqlite3.Connection:
        """A connection that can't write; to an empty index where there is none."""
        existing = getattr(self._local, "reader", None)
        if existing is not None:
            return existing
        connection = self._opened_for_reading() if self.path.exists() else sqlite3.connect(":memory:")
        if not self.path.exists():
            connection.executescript(SCHEMA)
        connection.row_factory = sqlite3.Row
        self._local.reader = connection
        return connection

    def _opened_for_reading(self) -> sqlite3.Connection:
        # Beside a writer, WAL wants a file of shared memory. Where none can be made the disk can't be written to by
        # anyone, and the file may be read as what it is: immutable.
        for options in ("mode=ro", "mode=ro&immutable=1"):
            connection = sqlite3.connect(f"{self.path.as_uri()}?{options}", uri=True, timeout=30, isolation_level=None)
            try:
                connection.execute("SELECT 1 FROM jobs, runs LIMIT 1")
                return connection
            except sqlite3.DatabaseError as error:
                connection.close()
                why = error
        raise UserError(
            f"{self.path} can't be read as the workspace's index ({why}); this server may not make it again"
        )

    def read(self, query: str, parameters: tuple = ()) -> list[sqlite3.Row]:
        return self._connection().execute(query, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start, so that what it reads stays true until it ends.

        Raises:
            UserError: where this process is read-only.
        """
        if read_only():
            raise UserError("this server is read-only (SAE_READ_ONLY): it can't write to the workspace's index")
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        for name in ("connection", "reader"):
            connection = getattr(self._local, name, None)
            if connection is not None:
                connection.close()
                setattr(self._local, name, None)
