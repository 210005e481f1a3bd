"""Real supervisors and child processes: completion, failure, cancel, kill -9, and two of them."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from sae.common.errors import UserError
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.start import start_experiment
from sae.workspace.work import run_experiment
from tests.workspace.helpers import put_activations, until


def spec(name="grid", epochs=2, **factors):
    return {
        "kind": "topk-grid",
        "name": name,
        "activations": "rows",
        "layer": None,
        "position": None,
        "factors": {"k": [2, 4], "d_sae": [32, 48], **factors},
        "settings": {"epochs": epochs, "batch_size": 16},
    }


def weights(workspace, name):
    return {run.id: (run.folder / "weights.safetensors").read_bytes() for run in workspace.experiment(name).runs()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights of 100 epochs that nobody stopped, trained in this process."""
    calm = Workspace(tmp_path_factory.mktemp("undisturbed") / "w")
    put_activations(calm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAE_THREADS", "1")
        run_experiment(calm, spec(epochs=100), "cpu", JobProgress(calm.root))
    return weights(calm, "grid")


def test_an_experiment_runs_to_its_end_and_fills_every_table(filled, supervisor):
    job = start_experiment(filled, spec(), device="cpu")
    assert set(filled.experiment("grid").runs_table()["status"]) == {"queued"}
    supervisor(filled)
    until(lambda: not filled.jobs.get(job.id).active)
    assert filled.jobs.get(job.id).status == "done", filled.jobs.get(job.id).log()
    table = filled.experiment("grid").runs_table()
    assert list(table["status"]) == ["done"] * 4 and (table["seconds"] > 0).all()
    for run in filled.experiment("grid").runs():
        assert len(run.features()) == run.config["model"]["d_sae"]
        assert run.codes().n_rows == 600
        assert {"train", "validation", "all"} == set(run.metrics)
        assert run.metrics["validation"]["l0"] <= run.factors["k"]
        assert not (run.folder / "checkpoint.safetensors").exists()
        assert list(run.history()["step"])[-1] == 2 * 30
    results = filled.experiment("grid").results()
    assert len(results) == 4 * 3
    # the maps follow as a job of their own
    until(lambda: all(run.map() is not None for run in filled.experiment("grid").runs()), 120)
    # nothing is trained twice
    before = weights(filled, "grid")
    again = start_experiment(filled, spec(), device="cpu")
    until(lambda: not filled.jobs.get(again.id).active)
    assert weights(filled, "grid") == before


def test_a_job_that_can_not_be_done_fails_with_one_line(filled, supervisor):
    job = filled.jobs.enqueue("experiment", "lost", {**spec("lost"), "activations": "nowhere"}, device="cpu")
    other = filled.jobs.enqueue("dance", "x", {}, device="cpu")
    supervisor(filled)
    until(lambda: not filled.jobs.get(other.id).active)
    assert filled.jobs.get(job.id).status == "failed"
    assert filled.jobs.get(job.id).error == "there are no activations named 'nowhere'; here are: rows"
    assert "job kind 'dance' is not known" in filled.jobs.get(other.id).error


def test_bad_specifications_are_refused_before_anything_is_written(filled):
    for bad in (
        spec(k=[64]),
        {**spec(), "activations": "nowhere"},
        {**spec(), "name": "../up"},
        {**spec(), "layer": 3},
    ):
        with pytest.raises(UserError):
            start_experiment(filled, bad)
    assert filled.experiments() == [] and filled.jobs.all() == []


def test_cancel_takes_less_than_a_second_and_resume_ends_with_the_same_weights(filled, supervisor, undisturbed):
    job = start_experiment(filled, spec(epochs=100), device="cpu")
    worker = supervisor(filled)
    until(
        lambda: any(
            cell.get("fraction", 0) > 0.2 for cell in filled.jobs.get(job.id).progress().get("cells", {}).values()
        )
    )
    asked = time.monotonic()
    filled.jobs.cancel(job.id)
    until(lambda: filled.jobs.get(job.id).status == "cancelled", 5)
    assert time.monotonic() - asked < 1.5  # under a second on an idle machine
    assert "cancelled" in set(filled.experiment("grid").runs_table()["status"])
    assert worker.process.poll() is None
    job = start_experiment(filled, spec(epochs=100), device="cpu")
    until(lambda: not filled.jobs.get(job.id).active)
    assert filled.jobs.get(job.id).status == "done"
    assert weights(filled, "grid") == undisturbed


def test_a_job_leaves_the_cores_to_whoever_clicks(filled, supervisor, monkeypatch):
    monkeypatch.setenv("SAE_NICE", "7")
    job = start_experiment(filled, spec(epochs=400), device="cpu")
    supervisor(filled)
    until(lambda: filled.jobs.get(job.id).progress().get("done", 0) > 0.1)
    pid = filled.jobs.get(job.id).pid
    assert psutil.Process(pid).nice() == 7
    group = Path(f"/proc/{pid}/autogroup")
    assert not group.exists() or group.read_text().split()[-2:] == ["nice", "7"]


def test_a_job_can_not_be_as_urgent_as_a_word(filled, supervisor, monkeypatch):
    monkeypatch.setenv("SAE_NICE", "soon")
    job = start_experiment(filled, spec(), device="cpu")
    supervisor(filled)
    until(lambda: not filled.jobs.get(job.id).active)
    assert filled.jobs.get(job.id).error == "SAE_NICE is 'soon': it takes a number from 0, as urgent as all else, to 19"


def test_kill_9_of_the_supervisor_takes_the_child_with_it_and_the_next_one_ends_with_the_same_weights(
    filled, supervisor, undisturbed
):
    job = start_experiment(filled, spec(epochs=100), device="cpu")
    first = supervisor(filled)
    until(lambda: filled.jobs.get(job.id).progress().get("done", 0) > 0.3)
    child = filled.jobs.get(job.id).pid
    first.kill()
    until(lambda: not psutil.pid_exists(child), 5)
    supervisor(filled)
    until(lambda: filled.jobs.get(job.id).progress().get("done", 0) > 1.5)
    os.kill(filled.jobs.get(job.id).pid, signal.SIGKILL)  # the child alone: the job is queued again
    until(lambda: not filled.jobs.get(job.id).active)
    assert filled.jobs.get(job.id).status == "done", filled.jobs.get(job.id).log()
    assert weights(filled, "grid") == undisturbed


def test_a_second_supervisor_of_the_device_does_not_start(filled, supervisor):
    supervisor(filled)
    until(lambda: filled.jobs.supervisors() == ["cpu"])
    second = supervisor(filled)
    assert second.process.wait(timeout=30) == 2
    assert second.process.stderr.read().strip().splitlines()[-1].startswith("error: a supervisor already works on cpu")


def test_a_stopped_supervisor_gives_its_job_back(filled, supervisor):
    job = start_experiment(filled, spec(epochs=400), device="cpu")
    worker = supervisor(filled)
    until(lambda: filled.jobs.get(job.id).progress().get("done", 0) > 0.1)
    assert worker.end() == 0
    assert filled.jobs.get(job.id).status == "queued" and filled.jobs.supervisors() == []


def test_maps_step_aside_for_training_and_go_on_afterwards(filled, supervisor):
    first = start_experiment(filled, spec("first", d_sae=[48]), device="cpu")
    supervisor(filled)
    until(lambda: not filled.jobs.get(first.id).active)
    maps = filled.jobs.latest("first", "map")
    until(lambda: filled.jobs.get(maps.id).progress())  # its process is up
    second = start_experiment(filled, spec("second", d_sae=[32]), device="cpu")
    until(lambda: filled.jobs.get(second.id).status == "done")
    assert filled.jobs.get(maps.id).active
    until(lambda: filled.jobs.get(maps.id).status == "done", 180)
    assert all(run.map() is not None for run in filled.experiment("first").runs())
