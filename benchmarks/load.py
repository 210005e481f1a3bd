"""Many viewers at once while a grid trains: how long the server takes over a click, what fails, and how memory grows.

python -m benchmarks.load --workspace DIR [--clients 50] [--minutes 10] [--processes N]

The workspace is copied to a scratch folder, the app is started on it, and one of its grids is trained again there with
other seeds. Each client is a WebSocket that speaks Streamlit's protocol, as a browser does: it opens a page, waits 5 to
10 seconds, and goes to another view; parts of a page that refresh themselves are asked for as often as a browser would.
Server time is from the click until the page's script has ended; nothing is drawn. Several processes stand behind Caddy
with `deploy/Caddyfile` (the program `caddy` must be there), which keeps each client with one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from sae.common.errors import UserError
from sae.workspace import Workspace
from sae.workspace.jobs import Job

ROOT = Path(__file__).resolve().parents[1]
PAUSE = (5.0, 10.0)  # s between a client's clicks
LONGEST = 60.0  # s that a client waits for a click's end
EVERY = 5.0  # s between looks at the memory


@dataclass
class Seen:
    """What the clients saw, and what the server's process took."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refreshes: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    computed: float = 0.0  # CPU seconds of the server


def views(workspace: Workspace) -> list[tuple[str, dict[str, str]]]:
    """Pages and choices that visitors go to, of everything that is finished in the workspace."""
    found: list[tuple[str, dict[str, str]]] = [("", {}), ("data", {}), ("claims", {})]
    for experiment in workspace.experiments():
        runs = [run for run in experiment.runs() if run.done]
        if experiment.source is not None or not runs:
            continue
        chosen = {"experiment": experiment.name}
        found += [("grid", chosen | {"view": view}) for view in ("heat-maps", "frontier", "configurations", "runs")]
        found += [("compare", {"runs": run.id}) for run in runs[:1]]
        for run in runs:
            one = chosen | {"run": run.id}
            found += [("run", one | {"view": view}) for view in ("overview", "activity", "geometry", "autopsy")]
            living = run.features().query("not dead")["feature"].tolist()
            found += [("features", one | {"feature": str(feature)}) for feature in living[:: max(len(living) // 8, 1)]]
            found.append(("pairs", one))
    return found


def begin_training(workspace: Workspace) -> Job:
    """Queue a grid of the workspace again, long enough for hours of training."""
    from sae.workspace.start import start_experiment

    for experiment in workspace.experiments():
        if experiment.source is None and experiment.kind == "topk-grid":
            spec = experiment.spec | {"name": f"load-{int(time.time())}"}
            spec = spec | {"factors": spec["factors"] | {"seed": list(range(1000, 1010))}}
            spec = spec | {"settings": spec["settings"] | {"epochs": 500}}
            return start_experiment(workspace, spec, device="cpu")
    raise UserError(f"{workspace.root} has no grid (topk-grid) that could be trained again")


@contextlib.contextmanager
def serving(workspace: Workspace, processes: int = 1) -> Iterator[tuple[list[int], int]]:
    """The app and a supervisor over the workspace; yields the ids of the app's processes and the port to ask."""
    ports = _free_ports(processes)
    environment = os.environ | {"SAE_WORKSPACE": str(workspace.root), "SAE_DEMO": "off"}
    commands = [[sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)] for port in ports]
    commands += [[sys.executable, "-m", "sae", "supervisor", "--device", "cpu", "--workspace", str(workspace.root)]]
    (front,) = ports if processes == 1 else _free_ports(1)
    if processes > 1:
        if shutil.which("caddy") is None:
            raise UserError("several processes stand behind Caddy, and the program caddy is not on the PATH")
        environment["SAE_HOST"] = f"http://127.0.0.1:{front}"
        environment["SAE_APPS"] = " ".join(f"127.0.0.1:{port}" for port in ports)
        commands += [["caddy", "run", "--adapter", "caddyfile", "--config", str(ROOT / "deploy" / "Caddyfile")]]
    with open(workspace.root.parent / "server.log", "wb") as log:
        started = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) for command in commands]
        try:
            for port in {*ports, front}:
                _wait_until_up(port)
            yield [process.pid for process in started[:processes]], front
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as held:
        free = [held.enter_context(socket.socket()) for _ in range(n)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in free]


def _wait_until_up(port: int) -> None:
    for _ in range(120):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
            return
        time.sleep(0.5)
    raise UserError("the app did not start within a minute")


class Client:
    """One visitor: a session that goes from view to view."""

    def __init__(self, port: int, places: list[tuple[str, dict[str, str]]], seen: Seen, chance: random.Random) -> None:
        self.url, self.places, self.seen, self.chance = f"ws://127.0.0.1:{port}/_stcore/stream", places, seen, chance
        self.refresh: dict[str, float] = {}  # seconds between refreshes by fragment

    async def visit(self, until: float) -> None:
        """Click until then; what goes wrong is noted, and the client goes on with a new session."""
        from websockets.asyncio.client import connect

        await asyncio.sleep(self.chance.uniform(0, PAUSE[1]))
        while time.monotonic() < until:
            try:
                async with connect(self.url, max_size=None, subprotocols=["streamlit"]) as socket:  # type: ignore[list-item]
                    while time.monotonic() < until:
                        page, choices = self.chance.choice(self.places)
                        self.refresh = {}
                        seconds = await self._run(socket, page, urlencode(choices))
                        self.seen.seconds.setdefault(page or "home", []).append(seconds)
                        await self._look(socket, page, urlencode(choices), self.chance.uniform(*PAUSE))
            except Exception as error:  # whatever ends a session is what is counted here
                self.seen.errors.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

    async def _look(self, socket: Any, page: str, query: str, pause: float) -> None:
        """Stay on a page, whose live parts refresh themselves."""
        end = time.monotonic() + pause
        due = {fragment: time.monotonic() + every for fragment, every in self.refresh.items()}
        while due and min(due.values()) < end:
            fragment = min(due, key=lambda name: due[name])
            await asyncio.sleep(max(due[fragment] - time.monotonic(), 0))
            self.seen.refreshes.append(await self._run(socket, page, query, fragment))
            due[fragment] = time.monotonic() + self.refresh.get(fragment, PAUSE[1])
        await asyncio.sleep(max(end - time.monotonic(), 0))

    async def _run(self, socket: Any, page: str, query: str, fragment: str = "") -> float:
        """Ask for a run of the page's script; returns seconds until its end."""
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.query_string, message.rerun_script.page_name = query, page
        if fragment:
            message.rerun_script.fragment_id, message.rerun_script.is_auto_rerun = fragment, True
        began = time.monotonic()
        await socket.send(message.SerializeToString())
        async with asyncio.timeout(LONGEST):
            while not self._ended(await socket.recv(), page, query, bool(fragment)):
                pass
        return time.monotonic() - began

    def _ended(self, data: bytes, page: str, query: str, of_fragment: bool) -> bool:
        from streamlit.proto.Alert_pb2 import Alert
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "auto_rerun":
            self.refresh[message.auto_rerun.fragment_id] = message.auto_rerun.interval
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            if element.WhichOneof("type") == "exception":
                self.seen.errors.append(f"{page}?{query}: {element.exception.message[:200]}")
            if element.WhichOneof("type") == "alert" and element.alert.format == Alert.ERROR:
                self.seen.errors.append(f"{page}?{query}: {element.alert.body[:200]}")
        if kind == "page_not_found":
            self.seen.errors.append(f"{page}?{query}: page not found")
        if kind != "script_finished":
            return False
        if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
            self.seen.errors.append(f"{page}?{query}: the script did not compile")
            return True
        ends = ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY if of_fragment else ForwardMsg.FINISHED_SUCCESSFULLY
        return message.script_finished == ends


async def _watch_memory(pids: list[int], seen: Seen, until: float) -> None:
    import psutil

    processes, began = [psutil.Process(pid) for pid in pids], time.monotonic()
    while time.monotonic() < until:
        seen.memory.append((time.monotonic() - began, sum(one.memory_info().rss for one in processes)))
        seen.computed = sum(sum(one.cpu_times()[:2]) for one in processes)
        await asyncio.sleep(EVERY)


async def _load(
    pids: list[int], port: int, places: list[tuple[str, dict[str, str]]], clients: int, seconds: float
) -> Seen:
    seen, until = Seen(), time.monotonic() + seconds
    visitors = [Client(port, places, seen, random.Random(number)).visit(until) for number in range(clients)]
    await asyncio.gather(_watch_memory(pids, seen, until), *visitors)
    return seen


def measure(workspace: Path, clients: int, minutes: float, processes: int = 1) -> dict[str, Any]:
    """Serve a copy of the workspace to so many clients for so long.

    Returns:
        `clicks`, `p50_s` and `p95_s` of server time, `p95_s_by_page`, `refreshes` and their `p95_s`,
        `server_cpu_s_a_run` (CPU of the app's processes by clicks and refreshes), `errors` (how many) and the first ten
        of them, `memory_mb` (resident, of the app's processes together: after a fifth of the time, at the end, the
        most), whether the grid still trained at the end (`trained`), `cpus` and the machine's load.
    """
    with tempfile.TemporaryDirectory(prefix="sae-load-") as scratch:
        copy = Workspace(Path(shutil.copytree(workspace, Path(scratch) / "workspace")))
        places = views(copy)
        job = begin_training(copy)
        # One visit in ten is to the grid that trains: pages that refresh themselves.
        live = [("train", {"show": "watch", "experiment": job.name}), ("grid", {"experiment": job.name}), ("", {})]
        places += live * (len(places) // 27 + 1)
        with serving(copy, processes) as (pids, port):
            print(f"{clients} clients over {len(set(map(str, places)))} views for {minutes:g} min", file=sys.stderr)
            seen = asyncio.run(_load(pids, port, places, clients, 60 * minutes))
            trained = copy.jobs.get(job.id).status == "running"
    every = [seconds for found in seen.seconds.values() for seconds in found]
    if not every or not seen.memory:
        raise UserError(f"no click ended: {seen.errors[:1]}")
    resident = [size / 1e6 for _, size in seen.memory]
    return {
        "clients": clients,
        "processes": processes,
        "minutes": minutes,
        "clicks": len(every),
        "p50_s": round(float(np.percentile(every, 50)), 2),
        "p95_s": round(float(np.percentile(every, 95)), 2),
        "p95_s_by_page": {page: round(float(np.percentile(s, 95)), 2) for page, s in sorted(seen.seconds.items())},
        "refreshes": len(seen.refreshes),
        "refreshes_p95_s": round(float(np.percentile(seen.refreshes, 95)), 2) if seen.refreshes else None,
        "server_cpu_s_a_run": round(seen.computed / (len(every) + len(seen.refreshes)), 3),
        "errors": len(seen.errors),
        "first_errors": seen.errors[:10],
        "memory_mb": {
            "early": round(resident[len(resident) // 5]),
            "end": round(resident[-1]),
            "most": round(max(resident)),
        },
        "trained": trained,
        "cpus": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True, help="is copied; needs a finished grid")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--processes", type=int, default=1, help="of the app; several stand behind Caddy")
    options = parser.parse_args()
    try:
        print(json.dumps(measure(options.workspace, options.clients, options.minutes, options.processes), indent=1))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
