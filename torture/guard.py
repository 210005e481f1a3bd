"""Watches what Python code does while it reads a file: what it runs, where it connects, and what it writes where."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_RUNS = {
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen",
    "pty.spawn", "socket.connect", "socket.getaddrinfo", "socket.bind", "pickle.find_class", "ctypes.dlopen",
    "webbrowser.open", "urllib.Request",
}  # fmt: skip
_WRITES = {
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "shutil.rmtree", "shutil.move", "shutil.copyfile",
}  # fmt: skip


class Guard:
    """A context in which this process is watched by Python's audit events; `seen` has what no importer may do.

    What compiled code writes makes no events: it is found by looking into `root`, whose only things are `inside`, where
    all may be written, and the files of the canary, when something made them.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.seen = root, list[str]()
        self.canary = root / "canary"
        self._inside = os.path.realpath(root / "inside")
        self._watching = False
        sys.addaudithook(self._hook)

    def __enter__(self) -> Guard:
        self.seen.clear()
        self._watching = True
        return self

    def __exit__(self, *_: Any) -> None:
        self._watching = False
        for path in self.root.iterdir():
            if path.name != "inside":
                self.seen.append(f"{path.name} was written")
                path.rmdir() if path.is_dir() else path.unlink()

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in _RUNS:
            self.seen.append(f"{event} {arguments!a}"[:200])
        elif event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes:
                self._written(event, path)
        elif event in _WRITES:
            two = event in ("os.rename", "shutil.move", "os.link")
            paths = arguments[1:2] if event == "os.symlink" else arguments[: 1 + two]
            for path, fd in zip(paths, (*(arguments[2:4] if two else arguments[-1:]), None), strict=False):
                self._written(event, path, fd)

    def _written(self, event: str, path: Any, folder: Any = None) -> None:
        """Note a path outside of `inside`; it may be relative to the open folder `folder`."""
        if isinstance(path, int) or path is None:
            return
        above = f"/proc/self/fd/{folder}" if isinstance(folder, int) and folder >= 0 else "."
        found = os.path.realpath(os.path.join(above, os.fsdecode(path)))
        if not found.startswith((self._inside + os.sep, "/dev/null", "/dev/shm")) and found != self._inside:
            self.seen.append(f"{event} {found!a}"[:200])
