"""Seed stability of runs: against matching by hand, kept in the folder, and made anew when the seeds are others."""

import json
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from sae.training.config import from_settings
from sae.workspace import Workspace
from sae.workspace.comparing import family, siblings
from sae.workspace.stability import _shared_start, kept_stability, stability_of
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("seeds") / "workspace"
    workspace = Workspace(root)
    put_activations(workspace, n=300)
    train_grid(workspace, root.parent / "scratch", presets=("corrected",), k=(3,), d_sae=(16, 24), seeds=(0, 1, 2))
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    workspace.database.close()
    return root


@pytest.fixture
def here(made, tmp_path):
    shutil.copytree(made, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def runs(workspace, d_sae):
    found = [run for run in workspace.experiment("grid").runs() if run.factors["d_sae"] == d_sae]
    return sorted(found, key=lambda run: run.factors["seed"])


def directions(run):
    living = np.flatnonzero(run.codes().n_active > 0)
    rows = run.weights()["W_dec"][living].astype(float)
    return living, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def stability(workspace, run, **options):
    """Where there is some."""
    found = stability_of(workspace, run, **options)
    assert found is not None
    return found


def test_siblings_and_family(here):
    first = runs(here, 16)[0]
    assert [run.factors["seed"] for run in siblings(here, first)] == [1, 2]
    assert [run.factors["d_sae"] for run in family(here, first)] == [16, 24]


def test_transcoders_that_start_from_rows_share_some_of_them():
    """Of 512 rows drawn from 1,000 another draw has 51.2 %: each row is in it with that probability."""
    training = from_settings({"architecture": "transcoder", "d_sae": 512, "k": 20}).as_dict()
    model, data = {"d_sae": 512, "d_in": 64}, {"rows": {"train": 1000}}
    run: Any = SimpleNamespace(config={"training": training, "model": model, "data": data})
    assert _shared_start(run) == pytest.approx(0.512)
    run.config["training"] = training | {"decoder_init": "random"}
    assert _shared_start(run) is None


def test_it_is_what_matching_by_hand_says_and_is_kept(here):
    first, *others = runs(here, 16)
    assert kept_stability(here, first) is None
    found = stability(here, first)
    living, mine = directions(first)
    assert found.features["feature"].tolist() == living.tolist() and found.notes["seeds"] == 2
    columns = []
    for other in others:
        table = np.maximum(mine @ directions(other)[1].T, 0)
        lines, chosen = linear_sum_assignment(-table)
        own = np.zeros(len(living))
        own[lines] = table[lines, chosen]
        columns.append(own)
    expected = np.column_stack(columns)
    assert found.features["found"].tolist() == (expected >= 0.7).sum(axis=1).tolist()
    assert found.features["median_similarity"].to_numpy() == pytest.approx(np.median(expected, axis=1), abs=1e-6)
    pairs = 3  # K, below d_sae / 4
    drawn = 16 - 2 * pairs
    assert found.notes["shared_start"] == pytest.approx((2 * pairs + drawn**2 / 240) / 16)
    again = kept_stability(here, first)
    assert again is not None
    assert again.features.equals(found.features) and again.notes == json.loads(json.dumps(found.notes))
    before = (first.folder / "stability.parquet").read_bytes()
    (first.folder / "stability.json").unlink()
    stability(here, first)
    assert (first.folder / "stability.parquet").read_bytes() == before


def test_another_seed_makes_it_anew(here):
    first, second, third = runs(here, 24)
    assert stability(here, first).notes["seeds"] == 2
    here.delete_run(third.id)
    assert kept_stability(here, first) is None and stability(here, first).notes["seeds"] == 1
    here.delete_run(second.id)
    assert stability_of(here, first) is None


def test_a_damaged_copy_is_made_anew_and_nothing_is_kept_for_readers(here):
    first = runs(here, 16)[0]
    stability(here, first, keep=False)
    assert not (first.folder / "stability.json").exists()
    whole = stability(here, first)
    (first.folder / "stability.parquet").write_bytes(b"not a table")
    assert stability(here, first).features.equals(whole.features)


def test_the_command_line(here, capsys, monkeypatch):
    from sae.cli.main import main

    monkeypatch.setenv("SAE_WORKSPACE", str(here.root))
    first, second, _ = runs(here, 16)
    assert main(["run", "stability", first.id, "--json", "--limit", "3"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["features"]) == 3 and document["seeds"] == 2
    assert main(["run", "compare", first.id, second.id, "--by", "correlation", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert sum(line["first"] for line in document["counts"]) == len(directions(first)[0])
    assert document["gap"] < 1e-4 and document["nulls"]["permuted"]["median"] < 1
