"""One writer at a time for what several machines could write, through nothing but files on shared storage.

A claim is a file that only one process can create. Its owner touches it every few seconds; once it has not been
touched for half a minute (or its process is gone, where that can be asked) somebody else may take over, by creating
the file of the next generation, which again only one can. An owner that was only slow finds that file and stops.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BEAT = 5.0  # s between touches
STALE = 30.0  # s without a touch after which an owner counts as gone


class Claims:
    """The claims of this process in one folder; a context that gives them back at its end.

    Args:
        folder: on storage that all who might write share.
        lost: called (on another thread) when somebody took one of them over.
    """

    def __init__(self, folder: Path, lost: Callable[[], None], beat: float = BEAT) -> None:
        self._folder, self._lost, self._beat = folder, lost, beat
        self._mine: dict[str, Path] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Claims:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()
        self.release(list(self._mine))
        with contextlib.suppress(OSError):  # others have claims in it
            self._folder.rmdir()

    def take(self, names: Iterable[str]) -> list[str]:
        """Those of `names` (without dots) that are this process's from now on, or already were."""
        return [name for name in names if name in self._mine or self._take(name)]

    def _take(self, name: str) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        there = _generations(self._folder, name)
        if there and _alive(there[max(there)]):
            return False
        path = self._folder / f"{name}.{max(there, default=0) + 1}.json"
        try:
            with open(path, "x", encoding="utf-8") as file:
                json.dump({"place": _place(), "pid": os.getpid(), "started": _started(os.getpid())}, file)
        except (FileExistsError, FileNotFoundError):  # another was faster, or removed the empty folder
            return False
        self._mine[name] = path
        return True

    def release(self, names: Iterable[str]) -> None:
        """Give claims back."""
        for name in names:
            own = self._mine.pop(name)
            generation = _generation(own)
            for number, path in _generations(self._folder, name).items():
                if number <= generation:
                    path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._end.wait(self._beat):
            for name, path in list(self._mine.items()):
                try:
                    os.utime(path)
                    newest = max(_generations(self._folder, name), default=0)
                except OSError:
                    newest = -1
                if newest != _generation(path) and name in self._mine:
                    self._lost()
                    return


def _generation(path: Path) -> int:
    return int(path.name.split(".")[-2])


def _generations(folder: Path, name: str) -> dict[int, Path]:
    try:
        found = [folder / entry for entry in os.listdir(folder) if entry.endswith(".json")]
    except FileNotFoundError:
        return {}
    return {_generation(path): path for path in found if path.name.rsplit(".", 2)[0] == name}


def _alive(path: Path) -> bool:
    try:
        owner: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if owner["place"] == _place():
            return _started(owner["pid"]) == owner["started"]
    except (OSError, ValueError, KeyError):
        pass  # given back meanwhile, or created and not written yet: its age says enough
    try:
        return _storage_time(path.parent) - path.stat().st_mtime < STALE
    except FileNotFoundError:
        return False


def _storage_time(folder: Path) -> float:
    """Now, as the storage has it: clocks of machines differ."""
    probe = folder / f".{uuid.uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


@functools.cache
def _place() -> str:
    """Where process ids mean the same: host, its boot, its namespace of processes (containers have their own)."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        words.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(words)


def _started(pid: int) -> float | None:
    """When a process of this machine was started; None if it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time(), 2)
    except psutil.NoSuchProcess:
        return None


def wait_turn(claims: Claims, names: list[str], tick: Callable[[], None], every: float = 1.0) -> list[str]:
    """Those of `names` that could be claimed, at least one; `tick` is called while all are somebody else's."""
    while not (mine := claims.take(names)):
        tick()
        time.sleep(every)
    return mine
