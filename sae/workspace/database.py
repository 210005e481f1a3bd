"""The SQLite file of a workspace: one connection a thread, WAL, short transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sae.common.errors import UserError

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
        existing = getattr(self._local, "connection", None)
        if existing is not None and self.path.exists():
            return existing
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
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

    def read(self, query: str, parameters: tuple = ()) -> list[sqlite3.Row]:
        return self._connection().execute(query, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start, so that what it reads stays true until it ends."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
