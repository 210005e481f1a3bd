"""`serve`: the app in one process or in several, each with a port of its own, for a proxy to stand before."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sae.cli.output import workspace_of
from sae.common.errors import UserError

APP = Path(__file__).resolve().parents[2] / "app.py"
SHORT = 10.0  # s: what ends sooner would only end again


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    one = commands.add_parser(
        "serve", parents=[common], help="the app; several processes for many visitors: docs/sharing-a-server.md"
    )
    one.add_argument("--port", type=int, default=8501, help="of the first process; the others take the next ones")
    one.add_argument("--processes", type=int, default=1, metavar="N", help="a visitor stays with one (default: 1)")
    one.set_defaults(run=serve)


def serve(options: argparse.Namespace) -> None:
    """Run the processes until a signal; one that ends is started again.

    Raises:
        UserError: for a port that is taken, no port or no process, or if one ends right after its start.
    """
    if not 1 <= options.processes <= 64:
        raise UserError(f"{options.processes} processes can't be started: take from 1 to 64")
    ports = range(options.port, options.port + options.processes)
    if ports[0] < 1 or ports[-1] > 65_535:
        raise UserError(f"there is no port {ports[0] if ports[0] < 1 else ports[-1]}: ports are 1 to 65,535")
    for port in ports:
        _look_at(port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    environment = {**os.environ, "SAE_WORKSPACE": str(workspace_of(options).root.resolve())}
    running: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        for port in ports:
            running[port] = _start(port, environment)
        while not stop.wait(0.2):
            for port, (process, began) in running.items():
                code = process.poll()
                if code is None:
                    continue
                if time.monotonic() - began < SHORT:
                    raise UserError(f"the app at port {port} ended with exit code {code}; its words stand above")
                print(f"the app at port {port} ended with exit code {code}: started again", file=sys.stderr)
                running[port] = _start(port, environment)
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _look_at(port: int) -> None:
    with socket.socket() as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            here.bind((os.environ.get("STREAMLIT_SERVER_ADDRESS", "127.0.0.1"), port))
        except OSError as error:
            raise UserError(f"port {port} can't be taken ({error.strerror}): choose another --port") from None


def _start(port: int, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], float]:
    command = [sys.executable, "-m", "streamlit", "run", APP.name, "--server.port", str(port)]
    return subprocess.Popen(command, cwd=APP.parent, env=environment), time.monotonic()
