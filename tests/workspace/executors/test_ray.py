"""A real Ray cluster of two nodes on this machine: a supervisor and a node die in the middle of a sweep, jobs are
cancelled and go on, a capture is put together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sae.common.errors import UserError
from sae.common.files import read_json
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.executors.configuration import configure
from sae.workspace.executors.on_ray import RayEngine
from sae.workspace.executors.tasks import Task
from sae.workspace.start import start_capture, start_experiment
from sae.workspace.work import run_capture, run_experiment
from tests.language_models import tiny
from tests.workspace.executors.sweeps import children_of, sweep, told, weights
from tests.workspace.helpers import put_activations, until

SMALL: dict[str, Any] = {"object_store_memory": 80 * 2**20, "num_cpus": 1}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and one more node, a CPU each."""
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_MODE"] = "disabled"  # whatever token somebody has in their home
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (else its workers wait for everything else that runs here)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
    made.add_node(**SMALL)
    before = [process.process.pid for node in made.list_all_nodes() for process in _processes(node)]
    yield made
    made.shutdown()
    until(lambda: not [pid for pid in before if _lives(pid)], 60)


def _processes(node: Any) -> list[Any]:
    return [process for kind in node.all_processes.values() for process in kind]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def on_node(task: Task, node: Any) -> bool:
    """Whether a running task's process descends from a node's raylet."""
    raylet = node.all_processes["raylet"][0].process.pid
    state = task.state
    try:
        return state["status"] == "running" and raylet in [p.pid for p in psutil.Process(state["pid"]).parents()]
    except psutil.NoSuchProcess:  # it ran under the supervisor before
        return False


def test_a_supervisor_and_a_node_die_in_a_sweep_and_nothing_is_lost_or_trained_twice(
    cluster: Any, filled: Workspace, supervisor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAE_THREADS", "1")
    calm = Workspace(tmp_path / "calm")
    put_activations(calm)
    (tmp_path / "progress").mkdir()
    wanted = sweep(epochs=250, d_sae=(32, 48))
    run_experiment(calm, wanted, "cpu", JobProgress(tmp_path / "progress"))

    configure(filled, "ray", {"address": cluster.address})
    job = start_experiment(filled, wanted)
    folder = job.folder / "tasks"
    first = supervisor(filled)
    tasks = {name: Task(folder / f"train-d{name}") for name in (32, 48)}
    until(lambda: any(task.progress().get("done", 0) > 0.05 for task in tasks.values()))
    first.kill()
    until(lambda: not children_of(job.folder), 60)  # Ray ends what nobody follows, and its children end with it
    before = told(job, "begins")

    supervisor(filled)
    victim = [node for node in cluster.list_all_nodes() if not node.head][0]
    lost = until(
        lambda: [
            task
            for task in tasks.values()
            if (job.folder / "log.txt").exists() and task.progress().get("done", 0) > 0.05 and on_node(task, victim)
        ]
    )
    had = {run for run, cell in lost[0].progress()["cells"].items() if cell["status"] == "done"}
    cluster.remove_node(victim, allow_graceful=False)
    until(lambda: not filled.jobs.get(job.id).active)
    assert filled.jobs.get(job.id).status == "done", filled.jobs.get(job.id).log()
    assert f"task {lost[0].name} was lost" in filled.jobs.get(job.id).log()

    assert weights(filled) == weights(calm) and len(weights(filled)) == 4
    finished, begun = told(job, "is finished"), told(job, "begins")
    assert set(finished) == set(weights(filled)) and set(finished.values()) == {1}
    for run, times in begun.items():
        stopped = (run in before) + (run in read_json(lost[0].folder / "spec.json")["runs"] and run not in had)
        assert times <= 1 + stopped, (run, begun)
    cells = filled.jobs.get(job.id).progress()["cells"]
    assert {cell["status"] for cell in cells.values()} == {"done"} and len(cells) == 4
    assert not children_of(job.folder)


def test_a_cancelled_sweep_stops_and_goes_on_to_the_same_weights(
    cluster: Any, filled: Workspace, supervisor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAE_THREADS", "1")
    calm = Workspace(tmp_path / "calm")
    put_activations(calm)
    (tmp_path / "progress").mkdir()
    wanted = sweep(epochs=80, d_sae=(48,), k=(4,))
    run_experiment(calm, wanted, "cpu", JobProgress(tmp_path / "progress"))
    configure(filled, "ray", {"address": cluster.address})
    job = start_experiment(filled, wanted)
    supervisor(filled)
    until(lambda: filled.jobs.get(job.id).progress().get("done", 0) > 0.05)
    filled.jobs.cancel(job.id)
    until(lambda: filled.jobs.get(job.id).status == "cancelled", 40)
    until(lambda: not children_of(job.folder), 5)
    again = start_experiment(filled, wanted)
    until(lambda: not filled.jobs.get(again.id).active)
    assert filled.jobs.get(again.id).status == "done", filled.jobs.get(again.id).log()
    assert weights(filled) == weights(calm)


def test_a_capture_over_the_cluster_gives_the_bytes_of_a_local_one(
    cluster: Any, tmp_path: Path, supervisor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAE_THREADS", "1")
    spec = {
        "name": "a",
        "model": str(tiny.make(tmp_path / "model")),
        "problems": "generated:40",
        "layers": "0,2",
        "positions": "all",
    }
    calm, spread = Workspace(tmp_path / "calm"), Workspace(tmp_path / "spread")
    (tmp_path / "progress").mkdir()
    run_capture(calm, spec, "cpu", JobProgress(tmp_path / "progress"))
    configure(spread, "ray", {"address": cluster.address, "capture_tasks": 2})
    job = start_capture(spread, spec)
    supervisor(spread)
    until(lambda: not spread.jobs.get(job.id).active)
    assert spread.jobs.get(job.id).status == "done", spread.jobs.get(job.id).log()
    for name in ("activations.npy", "rows.parquet", "examples.parquet"):
        one, other = (workspace.activations_folder("a") / name for workspace in (calm, spread))
        assert one.read_bytes() == other.read_bytes(), name
    assert [path.name for path in (spread.root / "activations").iterdir()] == ["a"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "head:six"])
def test_an_address_where_no_cluster_answers_is_said_at_once(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=f"no Ray cluster answers at '{address}' .*: start one with 'ray start --head'"):
        RayEngine({"address": address, "num_cpus": 1, "num_gpus": 0}, {})


def test_what_no_node_can_run_is_said_before_anything_waits_for_it(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    try:
        with pytest.raises(UserError, match="no node of the Ray cluster has the 1 CPUs and 0.5 GPUs"):
            RayEngine({"address": cluster.address, "num_cpus": 1, "num_gpus": 0.5}, {})
    finally:
        ray.shutdown()
