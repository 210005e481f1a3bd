"""The process that a job, or a task of one, runs in: `python -m sae.workspace.child FOLDER`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import stat
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from sae.common.errors import Cancelled, ProcessLost, UserError
from sae.common.files import read_json, write_json
from sae.workspace.executors.tasks import called_off, is_task
from sae.workspace.folder import Workspace


class JobProgress:
    """Writes `progress.json` a few times a second, and raises Cancelled once the job was asked to stop."""

    def __init__(self, folder: Path, every: float = 0.25) -> None:
        self.folder, self.every = folder, every
        self.cells: dict[str, dict[str, Any]] = {}
        self.stop = threading.Event()
        self._last = 0.0
        self._stage = ""
        self._started = time.monotonic()
        self._first = 0.0

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        """`figures` are shown as they are; see `sae.common.progress.Progress`."""
        if self.stop.is_set():
            raise Cancelled
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._first, self._last = stage, now, done, 0.0
        if now - self._last < self.every and done < total:
            return
        self._last = now
        seconds = now - self._started
        rate = (done - self._first) / seconds if seconds > 0 else 0.0
        write_json(
            self.folder / "progress.json",
            {
                "stage": stage,
                "done": done,
                "total": total,
                "seconds": round(seconds, 2),
                "left": round((total - done) / rate, 1) if rate > 0 else None,
                "figures": figures,
                "cells": self.cells,
                "time": time.time(),
            },
        )

    def cell(self, run: str, **state: Any) -> None:
        """State of one run of an experiment: `status`, `fraction`, and live metrics; written with the next update."""
        self.cells[run] = {**self.cells.get(run, {}), **state}


def main() -> int:
    """Carry out the job of the folder that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    progress = JobProgress(arguments.folder)
    _end_with_supervisor()
    signal.signal(signal.SIGTERM, lambda *_: progress.stop.set())
    # Ctrl-C is for the command line, which then cancels the job. Not ignored as such: what a job starts would inherit
    # that, and could not be interrupted.
    signal.signal(signal.SIGINT, lambda *_: None)
    if is_task(arguments.folder):
        _end_with_job(arguments.folder, progress)
    try:
        _step_back()
        from sae.workspace.work import perform

        state = read_json(arguments.folder / "state.json")
        device = arguments.device if state["device"] == "auto" else state["device"]
        perform(Workspace.at(), state["kind"], read_json(arguments.folder / "spec.json"), device, progress)
    except Cancelled:
        return 3
    except ProcessLost as error:  # the other one's error, if it had time to write one, is what there is to say
        print(error, file=sys.stderr)
        return 1
    except UserError as error:
        write_json(arguments.folder / "error.json", {"error": str(error)})
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        write_json(
            arguments.folder / "error.json", {"error": "out of memory: take fewer rows, a smaller d_sae or batch_size"}
        )
        return 1
    except Exception as error:
        traceback.print_exc()
        write_json(arguments.folder / "error.json", {"error": _in_a_line(error)})
        return 1
    return 0


def _step_back() -> None:
    """Whoever clicks goes before: a job takes what the app and others leave of the cores; `SAE_NICE=0` to have it as
    urgent as they are.

    Linux weighs the processes of a session together, by a number of the session, where it does not weigh them by
    container (sched(7), autogroup); a job is a session.
    """
    if not hasattr(os, "setpriority"):
        return
    nice = os.environ.get("SAE_NICE", "10")
    if not nice.isdecimal() or not nice.isascii() or int(nice) > 19:
        raise UserError(f"SAE_NICE is {nice!r}: it takes a number from 0, as urgent as all else, to 19")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(int(nice), os.getpriority(os.PRIO_PROCESS, 0)))
    with contextlib.suppress(OSError):
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(nice)


def _in_a_line(error: Exception) -> str:
    """What went wrong, for people; a full disk as what it is, whichever library ran into it."""
    if getattr(error, "errno", None) == errno.ENOSPC or f"os error {errno.ENOSPC}" in str(error):
        return f"no space left on the disk of {Workspace.at().root}: make room and start again, it goes on from there"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _end_with_supervisor() -> None:
    """Standard input is a pipe from the supervisor: it ends when that process does.

    It is none where somebody started torchrun by hand, on the second of several machines.
    """
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def watch() -> None:
        try:
            while os.read(0, 1):
                pass
        except OSError:
            pass
        os._exit(4)

    threading.Thread(target=watch, daemon=True).start()


def _end_with_job(folder: Path, progress: JobProgress) -> None:
    """A task asks every second whether its job was cancelled: that holds even where nobody is left to tell it."""

    def watch() -> None:
        while not progress.stop.wait(1.0):
            if called_off(folder):
                progress.stop.set()

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
