"""`serve`: every process answers, one that ends comes back, and a signal ends them all."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from sae.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


def answers(port: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).read() == b"ok":
                return True
        time.sleep(0.1)
    return False


def two_free_ports() -> int:
    """The first of two ports beside each other."""
    for port in range(20_000 + os.getpid() % 10_000, 60_000, 2):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("no two ports are free")


def test_two_processes_answer_and_one_that_is_killed_comes_back(tmp_path: Path) -> None:
    port = two_free_ports()
    command = [sys.executable, "-m", "sae", "serve", "--processes", "2", "--port", str(port)]
    log = tmp_path / "log"
    with open(log, "wb") as output:
        parent = subprocess.Popen(
            [*command, "--workspace", str(tmp_path / "workspace")], cwd=ROOT, stdout=output, stderr=output,
            env={**os.environ, "SAE_DEMO": "off"},
        )  # fmt: skip
    try:
        assert answers(port, 60) and answers(port + 1, 60), log.read_text()
        time.sleep(10)  # what ends within ten seconds of its start would only end again
        children = psutil.Process(parent.pid).children()
        assert len(children) == 2
        children[0].kill()
        assert answers(port, 60) and answers(port + 1, 60), log.read_text()
        assert parent.poll() is None
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(30) == 0
        assert not answers(port, 0.5) and not answers(port + 1, 0.5)
    finally:
        for child in [*psutil.Process(parent.pid).children(recursive=True)] if parent.poll() is None else []:
            child.kill()
        parent.kill()
        parent.wait(10)


@pytest.mark.parametrize(
    ("asked", "said"),
    [(["--processes", "0"], "from 1 to 64"), (["--port", "65535", "--processes", "2"], "no port 65536")],
)
def test_what_can_not_be_served_is_said(asked, said, capsys):
    assert main(["serve", *asked]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"port {port} can't be taken" in capsys.readouterr().err
