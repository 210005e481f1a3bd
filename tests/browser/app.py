"""The real app on a port of its own, over a workspace of the test's."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class App:
    """`url` has no slash at its end; `log` is what the server printed, tracebacks included."""

    url: str
    workspace: Path
    log: Path
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def serve(workspace: Path, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[App]:
    """Start `streamlit run app.py` over `workspace`, wait until it is healthy, and end all it started.

    Raises:
        RuntimeError: if the server ends or does not answer within a minute; its log is in the message.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    surroundings = {
        **os.environ,
        "SAE_WORKSPACE": str(workspace),
        "SAE_DEMO": "off",
        "STREAMLIT_CLIENT_SHOW_ERROR_DETAILS": "full",  # a failing test says what was raised
        **(environment or {}),
    }
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=surroundings, stdout=output, stderr=subprocess.STDOUT)
    app = App(f"http://127.0.0.1:{port}", workspace, log, process)
    try:
        _wait_until_healthy(app)
        yield app
    finally:
        _end(app)


def _wait_until_healthy(app: App) -> None:
    limit = time.monotonic() + 60
    while time.monotonic() < limit and app.process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if urllib.request.urlopen(f"{app.url}/_stcore/health", timeout=5).read() == b"ok":
                return
        time.sleep(0.1)
    raise RuntimeError(f"the app did not start:\n{app.log.read_text(errors='replace')}")


def _end(app: App) -> None:
    """The server, and what outlives it by design (supervisor, jobs): known by the workspace they work on."""
    app.process.terminate()
    try:
        app.process.wait(10)
    except subprocess.TimeoutExpired:
        app.process.kill()
        app.process.wait(10)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("SAE_WORKSPACE") == str(app.workspace) and process.pid != os.getpid():
                process.kill()
