"""An experiment on rows that do not fit into memory: streamed, and resumed in the order it began with."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from sae.common.errors import Cancelled
from sae.training.streamed_rows import StreamedRows
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment
from tests.workspace.helpers import put_activations

LITTLE = 50_000  # bytes free: too little for 480 rows of 24 in float32, twice


def spec(name="grid", **settings):
    return {
        "kind": "topk-grid",
        "name": name,
        "activations": "rows",
        "factors": {"d_sae": [16, 32], "k": [2, 4]},
        "settings": {"epochs": 3, "batch_size": 64, **settings},
    }


def run(workspace, tmp_path, spec, progress=JobProgress):
    folder = tmp_path / "job"
    folder.mkdir(exist_ok=True)
    run_experiment(workspace, spec, "cpu", progress(folder))


def weights(workspace, name="grid"):
    return {
        (run.factors["d_sae"], run.factors["k"]): load_file(run.folder / "weights.safetensors")
        for run in workspace.experiment(name).runs()
    }


def same(one, other):
    return all(np.array_equal(one[cell][name], other[cell][name]) for cell in one for name in one[cell])


@pytest.fixture
def little_memory(monkeypatch):
    for place in ("sae.training.streamed_rows.free_memory", "sae.experiments.execute.free_memory"):
        monkeypatch.setattr(place, lambda device: LITTLE)
    monkeypatch.setattr("sae.training.streamed_rows.CHUNK_BYTES", 20 * 24 * 4)
    monkeypatch.setattr("sae.training.streamed_rows.BUFFER_BYTES", 110 * 24 * 4)


def test_too_many_rows_are_streamed_and_the_run_says_so(filled, tmp_path, little_memory):
    run(filled, tmp_path, spec())
    for one in filled.experiment("grid").runs():
        assert one.config["training"]["chunk_rows"] == one.config["data"]["chunk_rows"] == 20
        assert one.metrics["validation"]["ev_total"] > 0.2
    # a run of its own in the same order, by the setting: the same name for it would be another run
    run(filled, tmp_path, spec("asked", chunk_rows=20))
    assert same(weights(filled), weights(filled, "asked"))


def test_rows_that_fit_are_shuffled_as_a_whole(filled, tmp_path):
    run(filled, tmp_path, spec())
    assert {one.config["data"]["chunk_rows"] for one in filled.experiment("grid").runs()} == {0}


def test_groups_share_what_is_read(filled, tmp_path, little_memory, monkeypatch):
    """With memory for all runs they take turns, and give the weights that they give one after another."""
    run(filled, tmp_path, spec("alone", chunk_rows=20))
    monkeypatch.setattr("sae.experiments.execute.free_memory", lambda device: 10**9)
    epochs = []
    sections = StreamedRows.sections

    def counted(self, *place):
        epochs.append(place)
        return sections(self, *place)

    monkeypatch.setattr(StreamedRows, "sections", counted)
    run(filled, tmp_path, spec("together", chunk_rows=20))
    assert len(epochs) == 3  # of four runs
    assert same(weights(filled, "alone"), weights(filled, "together"))


@pytest.mark.parametrize("stop", [0.11, 0.48, 0.8])
def test_a_resumed_run_keeps_the_order_it_began_with(filled, tmp_path, little_memory, monkeypatch, stop):
    class Stopping(JobProgress):
        def update(self, done, total, stage="", **figures):
            super().update(done, total, stage, **figures)
            if done / total > stop:
                raise Cancelled

    other = Workspace(tmp_path / "other")
    put_activations(other)
    run(other, tmp_path, spec())
    monkeypatch.setattr("sae.experiments.execute.free_memory", lambda device: 10**9)
    with pytest.raises(Cancelled):
        run(filled, tmp_path, spec(), Stopping)
    # now there is memory for everything
    monkeypatch.setattr("sae.training.streamed_rows.free_memory", lambda device: 10**9)
    run(filled, tmp_path, spec())
    assert same(weights(filled), weights(other))
    assert {one.config["data"]["chunk_rows"] for one in filled.experiment("grid").runs()} == {20}
