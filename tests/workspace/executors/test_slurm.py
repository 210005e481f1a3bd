"""Jobs as submitit's tasks. There is no SLURM on the machines of the tests: submitit runs them on this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sae.common.errors import UserError
from sae.common.files import write_parquet
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.executors.configuration import configure
from sae.workspace.executors.on_slurm import SlurmEngine
from sae.workspace.executors.tasks import Task
from sae.workspace.start import start_experiment
from sae.workspace.work import run_experiment
from tests.workspace.executors.sweeps import children_of, sweep, told, weights
from tests.workspace.helpers import put_activations, until

HERE = {"cluster": "local", "cpus": 1}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("SAE_THREADS", "1")


@pytest.fixture
def calm(tmp_path: Path) -> Workspace:
    """The same rows, for the twin that nobody disturbs."""
    workspace = Workspace(tmp_path / "calm")
    put_activations(workspace)
    (tmp_path / "progress").mkdir()
    return workspace


def test_a_sweep_goes_on_without_its_supervisor_and_is_followed_by_the_next(
    filled: Workspace, calm: Workspace, supervisor: Any, tmp_path: Path
) -> None:
    wanted = sweep(epochs=80, d_sae=(32, 48))
    run_experiment(calm, wanted, "cpu", JobProgress(tmp_path / "progress"))
    configure(filled, "slurm", HERE)
    job = start_experiment(filled, wanted)
    first = supervisor(filled)
    tasks = [Task(job.folder / "tasks" / name) for name in ("train-d32", "train-d48")]
    until(lambda: all((task.folder / "progress.json").exists() for task in tasks))
    first.kill()
    workers = [process for process in children_of(job.folder / "tasks")]
    assert len(workers) == 2
    until(lambda: len(children_of(job.folder)) == 2, 20)  # the follower ended with its supervisor, the tasks did not
    supervisor(filled)
    until(lambda: not filled.jobs.get(job.id).active)
    log = filled.jobs.get(job.id).log()
    assert filled.jobs.get(job.id).status == "done", log
    assert weights(filled) == weights(calm)
    runs = set(weights(calm))
    assert told(job, "begins") == told(job, "is finished") == dict.fromkeys(runs, 1)
    until(lambda: not children_of(job.folder), 10)


def test_a_cancelled_sweep_stops_and_goes_on_to_the_same_weights(
    filled: Workspace, calm: Workspace, supervisor: Any, tmp_path: Path
) -> None:
    wanted = sweep(epochs=80, d_sae=(48,), k=(4,))
    run_experiment(calm, wanted, "cpu", JobProgress(tmp_path / "progress"))
    configure(filled, "slurm", HERE)
    job = start_experiment(filled, wanted)
    supervisor(filled)
    until(lambda: filled.jobs.get(job.id).progress().get("done", 0) > 0.05)
    filled.jobs.cancel(job.id)
    until(lambda: filled.jobs.get(job.id).status == "cancelled", 40)
    until(lambda: not children_of(job.folder), 20)
    again = start_experiment(filled, wanted)
    until(lambda: not filled.jobs.get(again.id).active)
    assert filled.jobs.get(again.id).status == "done", filled.jobs.get(again.id).log()
    assert weights(filled) == weights(calm)


def test_a_task_that_fails_fails_its_job_with_its_line(filled: Workspace, supervisor: Any) -> None:
    configure(filled, "slurm", HERE)
    job = start_experiment(filled, sweep(d_sae=(32,)))
    rows = filled.activations_folder("rows") / "rows.parquet"
    table = pd.read_parquet(rows).assign(split="validation")
    table.loc[0, "split"] = "train"  # with none, the job would not even hand out tasks
    write_parquet(rows, table)
    supervisor(filled)
    until(lambda: not filled.jobs.get(job.id).active)
    found = filled.jobs.get(job.id)
    assert found.status == "failed", found.log()
    assert found.error == "task train-d32: all rows of 'rows' has fewer than two training rows"


def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sae.workspace.executors.configuration import SETTINGS

    monkeypatch.setenv("PATH", str(tmp_path))
    settings = {name: setting.default for name, setting in SETTINGS["slurm"].items()}
    with pytest.raises(UserError, match="SLURM can't be used from here .*srun.*: start the supervisor on a login node"):
        SlurmEngine(settings, {}, tmp_path / "job")
