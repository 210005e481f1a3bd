"""Job arrays, against a stand-in for SLURM's commands: submitting, following, losing and cancelling tasks."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sae.common.files import read_json, write_json
from sae.workspace import Workspace
from sae.workspace.executors import on_slurm
from sae.workspace.executors.claims import Claims
from sae.workspace.executors.configuration import SETTINGS
from sae.workspace.executors.on_slurm import SlurmEngine
from sae.workspace.executors.tasks import CANCELLED, Task, environment_of_tasks
from sae.workspace.register import planned, register
from tests.workspace.executors import slurm_stand_in
from tests.workspace.executors.sweeps import children_of, sweep
from tests.workspace.helpers import until


class Queue:
    """A workspace, a job that runs, and a SLURM."""

    def __init__(self, workspace: Workspace, slurm: Path) -> None:
        from sae.experiments.plan import Spec

        self.workspace, self.slurm = workspace, slurm
        self.job = workspace.root / "jobs" / "j"
        write_json(self.job / "state.json", {"cancel": 0, "status": "running", "device": "cpu"})
        self.plan = planned(workspace, Spec(**sweep(d_sae=(32,))))
        register(workspace, self.plan)

    def engine(self, **settings: Any) -> SlurmEngine:
        defaults = {name: setting.default for name, setting in SETTINGS["slurm"].items()}
        return SlurmEngine({**defaults, "cpus": 1, **settings}, environment_of_tasks(self.workspace.root, 1), self.job)

    def task(self, name: str, kind: str = "train-task") -> Task:
        """One that trains the sweep's runs, or fails at once (of another kind)."""
        task = Task(self.job / "tasks" / name)
        spec = {"experiment": self.plan.spec.as_dict(), "runs": [run.id for run in self.plan.runs]}
        task.write(kind, "cpu", spec)
        return task

    def claims(self) -> Claims:
        """Held, they keep every training task waiting."""
        return Claims(self.workspace.experiment_folder("grid") / "claims", lost=lambda: None)

    def state(self, task: Task) -> str:
        return (self.slurm / f"{self.number(task)}.state").read_text()

    def number(self, task: Task) -> str:
        return read_json(task.folder / "cluster_job.json")


@pytest.fixture
def queue(filled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    pytest.importorskip("submitit")
    slurm_stand_in.install(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(on_slurm, "_ASK_SECONDS", 0.3)
    return Queue(filled, tmp_path / "slurm")


def ended(engine: SlurmEngine, *tasks: Task) -> dict[str, int | None]:
    """What ends next."""
    return until(lambda: engine.ended(list(tasks)), 120)


def test_tasks_of_an_array_are_followed_by_a_later_driver_and_noticed_when_their_node_dies(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = queue.task("bad", kind="dance"), queue.task("good")
    with queue.claims() as claims:
        claims.take(["d32"])
        first = queue.engine()
        first.submit([bad, good])
        assert [queue.number(bad), queue.number(good)] == ["1000_0", "1000_1"]
        assert ended(first, bad, good) == {"bad": 2} and "'dance' is not known" in bad.error
        until(lambda: good.progress().get("stage", "").startswith("waiting for another process"))

        second = queue.engine()
        second.submit([good])
        assert "task good is under way as 1000_1" in capsys.readouterr().out
        assert second.ended([good]) == {}
        os.killpg(int((queue.slurm / "1000_1.pid").read_text()), signal.SIGKILL)
        assert ended(second, good) == {"good": None} and queue.state(good) == "NODE_FAIL"
        until(lambda: not children_of(good.folder), 20)

        good.set_state(status="queued")
        second.submit([good])
        until(lambda: good.state["status"] == "running")
    assert ended(second, good) == {"good": 0}
    assert all((queue.workspace.run_folder(run.id) / "metrics.json").exists() for run in queue.plan.runs)
    until(lambda: queue.state(good) == "COMPLETED", 20)
    third = queue.engine()
    good.set_state(status="queued")  # as after a crash between submitting and the end: SLURM knows better
    assert not third._follow(good, queue.number(good))


def test_what_waits_is_taken_out_of_the_queue_and_what_runs_stops(queue: Queue) -> None:
    running, waiting = queue.task("running"), queue.task("waiting")
    with queue.claims() as claims:
        claims.take(["d32"])
        engine = queue.engine(at_once=1)
        engine.submit([running, waiting])
        until(lambda: running.progress().get("stage", "").startswith("waiting for another process"))
        assert waiting.state["status"] == "queued"
        write_json(queue.job / "state.json", {"cancel": 1, "status": "running", "device": "cpu"})
        engine.stop([running, waiting])
    assert running.code == CANCELLED and queue.state(waiting) == "CANCELLED by 0"
    until(lambda: not children_of(queue.job), 20)
