"""The cost shown before training: what is counted, not how fast this machine is."""

import pytest

from sae.experiments.cost import Cost
from sae.training.config import from_settings
from sae.training.probe import cell_key, over_k, run_bytes, seconds_per_step
from sae.workspace import Workspace
from sae.workspace.probe import estimate
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations


def test_k_lies_on_the_line_between_the_least_and_the_largest():
    configs = [
        from_settings({"d_sae": d_sae, "k": k, "seed": s}) for d_sae in (8, 16) for k in (1, 3, 5) for s in (0, 1)
    ]
    asked = []

    def measure(config):
        asked.append((config.d_sae, config.k))
        return config.d_sae + 10.0 * config.k

    found = over_k(configs, measure)
    assert sorted(asked) == [(8, 1), (8, 5), (16, 1), (16, 5)]
    for config in configs:
        assert found[cell_key(config)] == pytest.approx(config.d_sae + 10 * config.k)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost")
    workspace = Workspace(folder / "w")
    put_activations(workspace)
    train_grid(workspace, folder, presets=("corrected",))
    return workspace


def spec(**factors):
    return {
        "kind": "topk-grid",
        "name": "estimate",
        "activations": "rows",
        "factors": factors,
        "settings": {"epochs": 2},
    }


def test_every_cell_has_its_seconds_and_the_total_is_more_than_theirs(trained):
    found = estimate(trained, spec(d_sae=[16, 32], k=[2, 4], seed=[0, 1]), "cpu")
    assert found["runs"] == len(found["cells"]) == 8
    assert all(cell["seconds"] > 0 for cell in found["cells"])
    assert found["seconds"] > sum(cell["seconds"] for cell in found["cells"])  # a process, and what runs share
    by_seed = {(c["d_sae"], c["k"], c["seed"]): c["seconds"] for c in found["cells"]}
    assert by_seed[16, 2, 0] == by_seed[16, 2, 1]


def test_disk_is_what_the_runs_take(trained):
    """Of weights and feature activations; tables and headers come to some kilobytes more."""
    runs = trained.experiment("grid").runs()
    found = estimate(trained, spec(d_sae=[16, 32], k=[2, 4]), "cpu")["disk_bytes"]
    names = ("weights.safetensors", "codes.safetensors")
    there = sum((run.folder / name).stat().st_size for run in runs for name in names)
    assert there == pytest.approx(
        found, rel=0.2
    )  # signed top-K may leave slots empty; the index of rows is not counted


def test_memory_counts_the_rows_or_two_buffers_of_them(trained, monkeypatch):
    piece = trained.open_activations("rows").slice()
    config = from_settings({"d_sae": 32, "k": 2, "epochs": 1, "batch_size": 64})
    cost = Cost([config], piece, "cpu")
    process = cost.memory_bytes - run_bytes(config, 24) - 4 * 480 * 24 - 8 * 24**2
    assert process > 50e6  # torch alone
    monkeypatch.setattr("sae.training.streamed_rows.free_memory", lambda device: 1000)
    monkeypatch.setattr("sae.experiments.cost.BUFFER_BYTES", 100 * 24 * 4)
    assert cost.memory_bytes - run_bytes(config, 24) - 8 * 24**2 - process == 2 * 100 * 24 * 4


def test_a_run_in_training_takes_parameters_two_moments_and_a_batch():
    config = from_settings({"d_sae": 1000, "k": 2, "batch_size": 10})
    parameters = 2 * 50 * 1000 + 1000 + 50
    assert run_bytes(config, 50) == 4 * (3 * parameters + 10 * 1000 + 3 * 10 * 50)


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"architecture": "transcoder", "skip": True}, 50 * 50),  # W_skip
        ({"architecture": "deep-topk", "encoder_layers": 2}, 2 * 50 * 50 + 50),
        ({"architecture": "crosscoder", "layers": "0+1"}, 0),
    ],
)
def test_what_an_architecture_has_beside_a_topk_counts(settings, more):
    config = from_settings({"d_sae": 40, "k": 2, "batch_size": 10, **settings})
    plain = 2 * 50 * 40 + 40 + 50
    width = 100 if config.architecture == "transcoder" else 50
    assert run_bytes(config, 50) == 4 * (3 * (plain + more) + 10 * (40 + 3 * width))
    assert seconds_per_step([config], 50, "cpu", budget=0) > 0
