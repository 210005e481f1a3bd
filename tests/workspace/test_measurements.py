"""Measurements of another experiment's runs: registering, measuring, resuming, refusing."""

import pandas as pd
import pytest

from sae import experiments
from sae.common.errors import UserError
from sae.experiments.measurement import Measured, Measurement, MeasurementSpec
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.measurements import measure_runs, register_measurement
from sae.workspace.show import document
from sae.workspace.start import start_experiment
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations

CALLS: list[str] = []


def count_active(case, settings, progress):
    """A measurement for these tests: the mean number of active features in a row."""
    CALLS.append(case.run)
    if case.factors["k"] == settings["refuse"]:
        raise UserError("this K is refused")
    progress.update(1, 2, "halfway")
    x = case.slice.x
    mean = float((case.codes.csr() != 0).sum() / len(x))
    assert case.model.d_sae == case.factors["d_sae"]
    table = pd.DataFrame({"feature": range(case.model.d_sae), "n": case.codes.n_active})
    return Measured(
        [{"split": "all", "metrics": {"mean_active": mean}, "interval": {}, "n": len(x)}],
        {"counts": table},
        {"scale": settings["scale"]},
    )


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    kind = Measurement(
        "counting",
        "Counting",
        "How many?",
        {"scale": 2.0, "refuse": 0},
        {},
        "tests.workspace.test_measurements:count_active",
    )
    monkeypatch.setitem(experiments.MEASUREMENTS, "counting", kind)
    found = Workspace(tmp_path / "workspace")
    put_activations(found, n=200)
    train_grid(found, tmp_path / "job", d_sae=(16,))
    CALLS.clear()
    return found


def measure(workspace, tmp_path, **changes):
    spec = {"kind": "counting", "name": "counted", "source": "grid", "runs": [], "settings": {}, **changes}
    measure_runs(workspace, spec, "cpu", JobProgress(tmp_path))
    return workspace.experiment(spec["name"])


def test_every_finished_run_is_measured_once(workspace, tmp_path):
    experiment = measure(workspace, tmp_path)
    runs = workspace.experiment("grid").run_ids()
    assert experiment.measured_runs() == runs and experiment.run_ids() == []
    assert [found["id"] for found in experiment.results().to_dict("records")] == runs
    for line in experiment.results().itertuples():
        assert line.mean_active == pytest.approx(workspace.run(line.id).metrics["all"]["l0"])
    table = experiment.part(runs[0], "counts")
    assert list(table["n"]) == list(workspace.run(runs[0]).features()["n_active"])
    assert experiment.part_notes(runs[0]) == {"scale": 2.0}
    measure(workspace, tmp_path)
    assert runs == CALLS


def test_one_that_can_not_be_measured_does_not_stop_the_others(workspace, tmp_path):
    experiment = measure(workspace, tmp_path, settings={"refuse": "4"})
    states = experiment.runs_table().set_index("k")["status"]
    assert states.to_dict() == {2: "done", 4: "failed"}
    assert document(experiment)["runs"][1]["error"] == "this K is refused"
    assert [found["factors"]["k"] for found in document(experiment)["results"]] == [2]


def test_all_failing_is_an_error(workspace, tmp_path):
    (one,) = [run["id"] for run in workspace.experiment("grid").content["runs"] if run["factors"]["k"] == 4]
    with pytest.raises(UserError, match="this K is refused"):
        measure(workspace, tmp_path, runs=[one], settings={"refuse": 4})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "nothing"}, "nothing"),
        ({"runs": ["nobody"]}, "has no run 'nobody'"),
        ({"settings": {"colour": "red"}}, "settings are: scale, refuse"),
        ({"settings": {"refuse": "many"}}, "must be a whole number"),
        ({"kind": "guessing"}, "measurement 'guessing' is not known"),
    ],
)
def test_what_is_refused(workspace, changes, said):
    spec = {"kind": "counting", "name": "counted", "source": "grid", **changes}
    with pytest.raises(UserError, match=said):
        register_measurement(workspace, MeasurementSpec(**spec))
    assert [experiment.name for experiment in workspace.experiments()] == ["grid"]


def test_a_measured_experiment_is_not_deleted_under_its_measurement(workspace, tmp_path):
    measure(workspace, tmp_path)
    with pytest.raises(UserError, match="are measured by counted"):
        workspace.delete_experiment("grid")
    runs = workspace.experiment("grid").run_ids()
    workspace.delete_experiment("counted")
    assert all(workspace.run(run).done for run in runs)
    workspace.delete_experiment("grid")
    with pytest.raises(UserError, match="measure 'grid'"):
        train_again = tmp_path / "again"
        train_grid(workspace, train_again, d_sae=(16,))
        measure(workspace, tmp_path)
        measure(workspace, tmp_path, name="twice", source="counted")


def test_behind_the_job_that_trains_them_all_runs_may_be_asked_for(workspace):
    spec = {**workspace.experiment("grid").spec, "name": "later"}
    job = start_experiment(workspace, spec)
    experiment = register_measurement(workspace, MeasurementSpec("counting", "counted", "later"))
    assert experiment.measured_runs() == workspace.experiment("later").run_ids()
    workspace.jobs.cancel(job.id)
    with pytest.raises(UserError, match="no finished runs"):
        register_measurement(workspace, MeasurementSpec("counting", "again", "later"))
