"""Jobs over two real processes: torchrun under a supervisor."""

import os
import signal

import psutil
import pytest

from sae.common.errors import UserError
from sae.training.training import begun
from sae.workspace.child import JobProgress
from sae.workspace.processes import command, count_of, without
from sae.workspace.start import start_again, start_experiment
from sae.workspace.work import run_experiment
from tests.workspace.helpers import until


def spec(name, epochs):
    return {
        "kind": "topk-grid",
        "name": name,
        "activations": "rows",
        "layer": None,
        "position": None,
        "factors": {"k": [4], "d_sae": [32]},
        "settings": {"epochs": epochs, "batch_size": 17},
    }


def test_two_processes_end_where_one_does(filled, supervisor):
    alone = start_experiment(filled, spec("alone", 10), device="cpu")
    shared = start_experiment(filled, spec("shared", 10), device="cpu", processes=2)
    supervisor(filled)
    until(lambda: not filled.jobs.get(alone.id).active and not filled.jobs.get(shared.id).active, 180)
    assert filled.jobs.get(shared.id).status == "done", filled.jobs.get(shared.id).log()
    (one,), (two,) = (filled.experiment(name).runs() for name in ("alone", "shared"))
    assert one.config["environment"]["processes"] == 1 and two.config["environment"]["processes"] == 2
    for split, metrics in one.metrics.items():
        assert abs(metrics["ev_total"] - two.metrics[split]["ev_total"]) < 0.002
    assert list(two.history()["step"]) == list(one.history()["step"])
    assert not (two.folder / "checkpoint.safetensors").exists()


def workers(job):
    """Process ids of a running job's workers."""
    try:
        return [child.pid for child in psutil.Process(job.pid).children()] if job.pid else []
    except psutil.NoSuchProcess:
        return []


def test_cancelled_it_resumes_and_a_process_that_dies_ends_it_until_it_resumes(
    filled, supervisor, tmp_path, monkeypatch
):
    monkeypatch.setenv("SAE_THREADS", "1")
    run_experiment(filled, spec("whole", 40), "cpu", JobProgress(tmp_path))
    for maps in filled.jobs.active():  # or they start when the job is cancelled, and it has to wait for them
        filled.jobs.cancel(maps.id)
    supervisor(filled)
    job = start_experiment(filled, spec("stopped", 40), device="cpu", processes=2)
    (run,) = filled.experiment("stopped").run_ids()
    checkpoint = filled.run_folder(run) / "checkpoint.safetensors"

    until(lambda: (filled.run_folder(run) / "history.parquet").exists(), 180)
    filled.jobs.cancel(job.id)
    until(lambda: not filled.jobs.get(job.id).active)
    assert filled.jobs.get(job.id).status == "cancelled"
    at_cancel = begun(checkpoint)
    assert at_cancel is not None and at_cancel.step > 0

    again = start_again(filled, filled.jobs.get(job.id))
    assert count_of(again.spec) == 2
    (filled.run_folder(run) / "history.parquet").unlink()
    until(lambda: (filled.run_folder(run) / "history.parquet").exists(), 180)
    os.kill(workers(filled.jobs.get(again.id))[1], signal.SIGKILL)
    until(lambda: not filled.jobs.get(again.id).active, 180)
    assert filled.jobs.get(again.id).status == "done", filled.jobs.get(again.id).log()
    assert "another process of this job is gone" in again.log()
    one, two = (filled.experiment(name).runs()[0] for name in ("whole", "stopped"))
    assert abs(one.metrics["validation"]["ev_total"] - two.metrics["validation"]["ev_total"]) < 0.002
    steps = list(two.history()["step"])
    assert steps == list(one.history()["step"])


def test_what_can_not_be_shared_is_refused(filled, monkeypatch):
    with pytest.raises(UserError, match="--processes 0"):
        start_experiment(filled, spec("none", 1), processes=0)
    monkeypatch.setenv("SAE_EXECUTOR", "slurm")
    with pytest.raises(UserError, match="start torchrun yourself"):
        start_experiment(filled, spec("there", 1), processes=2)
    assert filled.jobs.all() == []


def test_the_command_is_torchruns(monkeypatch):
    assert command({}) == ["-m", "sae.workspace.child"]
    of_two = {"name": "x", "processes": 2}
    assert without(of_two) == {"name": "x"}
    launcher = ["-m", "torch.distributed.run"]
    work = ["--nproc-per-node", "2", "-m", "sae.workspace.child"]
    assert command(of_two) == [*launcher, "--standalone", *work]
    monkeypatch.setenv("SAE_TORCHRUN", "--nnodes 2 --node-rank 0 --master-addr here")
    assert command(of_two) == [*launcher, "--nnodes", "2", "--node-rank", "0", "--master-addr", "here", *work]
