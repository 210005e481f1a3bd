"""Tasks on an existing Ray cluster. What they compute goes through shared storage; Ray only says where they run."""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.workspace.executors.tasks import Task

_KNOCK_SECONDS = 5
_STOP_SECONDS = 12.0  # a task gives its child 8


def _knock(address: str) -> None:
    """Raises OSError if nobody listens there. Ray itself would end this whole process after a minute of trying."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


class RayEngine:
    """One Ray task for each of ours. Ray ends them when this process goes, however it goes, so nothing is doubled.

    Args:
        settings: of `ray` in `executor.json`.
        environment: of the tasks' processes.

    Raises:
        UserError: if the cluster does not answer, or none of its nodes can ever run such a task.
    """

    def __init__(self, settings: dict[str, Any], environment: dict[str, str]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._settings, self._environment = settings, environment
        self._running: dict[Any, Task] = {}
        try:
            _knock(settings["address"])
            ray.init(
                address=settings["address"],
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                ignore_reinit_error=True,
            )
        except Exception as error:  # of several kinds, by how it is unreachable
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"no Ray cluster answers at {settings['address']!r} ({said}): start one with 'ray start --head', join "
                "this machine with 'ray start --address HOST:PORT', or correct the address"
            ) from None
        self._check_room()
        self._remote = self._remote_function()

    def _check_room(self) -> None:
        import ray

        wanted = {"CPU": self._settings["num_cpus"], "GPU": self._settings["num_gpus"]}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(what, 0) >= amount for what, amount in wanted.items()) for node in nodes):
            here = "; ".join(f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes)
            raise UserError(
                f"no node of the Ray cluster has the {wanted['CPU']} CPUs and {wanted['GPU']:g} GPUs that a task "
                f"wants (nodes have {here}): change num_cpus or num_gpus of the executor"
            )

    def _remote_function(self) -> Any:
        import ray

        root = str(Path(__file__).resolve().parents[3])

        # A function within a function travels by value: Ray's workers need not know our package beforehand.
        def run(folder: str, environment: dict[str, str]) -> int:
            import sys

            if root not in sys.path:
                sys.path.insert(0, root)
            from sae.workspace.executors.tasks import TaskCommand

            return TaskCommand(folder, environment)()

        return ray.remote(run).options(
            num_cpus=self._settings["num_cpus"],
            num_gpus=self._settings["num_gpus"],
            max_retries=0,  # the driver sends out again what died: it knows what is on the disk
            scheduling_strategy="SPREAD",
        )

    def submit(self, tasks: list[Task]) -> None:
        for task in tasks:
            task.set_state(status="queued")  # what an earlier driver handed over died with it
            self._running[self._remote.remote(str(task.folder), self._environment)] = task

    def ended(self, tasks: list[Task]) -> dict[str, int | None]:
        """Raises UserError where a node has no environment that can run a task."""
        import ray

        found: dict[str, int | None] = {}
        if not self._running:
            return found
        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        for reference in ready:
            task = self._running.pop(reference)
            try:
                found[task.name] = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise UserError(f"task {task.name} could not be started on its node: {error.cause}") from None
            except ray.exceptions.RayError as error:
                print(f"task {task.name}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
                found[task.name] = None
        return found

    def stop(self, tasks: list[Task]) -> None:
        import ray

        for reference in self._running:
            ray.cancel(reference, force=False, recursive=True)
        end = time.monotonic() + _STOP_SECONDS
        while self._running and time.monotonic() < end:
            ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0.5)
            for reference in ready:
                del self._running[reference]

    def leave(self, tasks: list[Task]) -> None:
        # They would die with this process; so they write their checkpoints first.
        self.stop(tasks)
