"""The benchmark's document, and that what it compares is the same training."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import data, quality, table
from benchmarks.grid import Plan, measure
from benchmarks.ours import Float32, start
from benchmarks.peers import PEERS, find_peers
from benchmarks.reference import DenseAutograd
from benchmarks.task import GRID, LARGE, STEPS, Cell, Implementation, Task
from benchmarks.timing import Effort

TINY = Plan((Cell(32, 4), Cell(48, 20)), Effort(2, 1, 1), Cell(64, 4), Effort(1, 1, 1), roofline_repeats=1)


@pytest.fixture(scope="module")
def rows() -> data.Rows:
    return data.planted(24, 512, 100)


def test_the_grid_is_the_published_one() -> None:
    assert sorted(GRID) == sorted((d_sae, k) for k in (5, 10, 20, 100) for d_sae in (512, 1024, 2048))
    assert (LARGE.d_sae, LARGE.k, STEPS) == (16_384, 32, 584)


def test_the_document(rows: data.Rows) -> None:
    document = json.loads(json.dumps(measure(rows.train, {"dense_autograd": DenseAutograd}, TINY)))
    seconds = document["grid_cpu_seconds"]
    names = {"ours_float32", "ours_bfloat16", "dense_autograd"}
    assert set(seconds) == names
    for name in names:
        by_hand = sum(cell["ms"][name]["median"] for cell in document["cells"]) * 584 / 1000
        assert seconds[name] == pytest.approx(by_hand)
    assert document["ratios"] == {"dense_autograd": pytest.approx(seconds["dense_autograd"] / seconds["ours_float32"])}
    assert document["ratios_bfloat16"]["dense_autograd"] == pytest.approx(
        seconds["dense_autograd"] / seconds["ours_bfloat16"]
    )
    large = document["large"]
    assert (large["d_sae"], large["k"]) == (64, 4)
    assert large["ratios"]["dense_autograd"] == pytest.approx(
        large["ms"]["dense_autograd"]["median"] / large["ms"]["ours_float32"]["median"]
    )
    for precision in ("float32", "bfloat16"):
        floor = sum(sum(cell["floor_ms"][precision].values()) for cell in document["cells"]) * 584 / 1000
        assert document["share_of_floor"][precision] == pytest.approx(floor / seconds[f"ours_{precision}"])
    assert [cell["k"] for cell in document["auxk"]] == [20]
    assert {"torch", "threads", "cpu"} <= set(document["machine"])

    text = table.grid({**document, "left_out": {"sparsify": "ModuleNotFoundError: not here"}})
    assert f"{document['ratios']['dense_autograd']:.2f}" in text
    assert "Left out: sparsify" in text


def test_ours_and_the_reference_optimise_the_same_loss(rows: data.Rows) -> None:
    task = Task.on(rows.train).at(Cell(40, 5))
    mine, reference = Float32(task), DenseAutograd(task)
    for name, weights in start(task).state_dict().items():
        torch.testing.assert_close(mine.model().state_dict()[name], weights, rtol=0, atol=0)
        torch.testing.assert_close(reference.model().state_dict()[name], weights, rtol=0, atol=0)
    batch = task.batch(0)
    with torch.no_grad():
        by_hand = float((batch - start(task)(batch)).square().mean())
    assert float(mine.step(batch)) == pytest.approx(by_hand, rel=1e-5)
    assert float(reference.step(batch)) == pytest.approx(by_hand, rel=1e-5)


def test_ours_trains_as_the_reference_does(rows: data.Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one thing switched off that the reference leaves out, the weights stay together."""
    monkeypatch.setattr(Float32, "settings", {"auxk_coefficient": 0.0, "project_gradient": False})
    task = Task.on(rows.train).at(Cell(40, 5))
    mine, reference = Float32(task), DenseAutograd(task)
    for number in range(6):
        mine.step(task.batch(number))
        reference.step(task.batch(number))
    x = rows.validation
    torch.testing.assert_close(mine.model()(x), reference.model()(x), rtol=0, atol=2e-4)


def test_batches_cover_every_epoch(rows: data.Rows) -> None:
    task = Task.on(rows.train, epochs=2)
    assert task.steps == 4
    for epoch in range(2):
        seen = torch.cat([task.batch(2 * epoch), task.batch(2 * epoch + 1)])
        torch.testing.assert_close(seen.sort(dim=0).values, rows.train.sort(dim=0).values, rtol=0, atol=0)
    assert not torch.equal(task.batch(0), task.batch(2))


def test_planted_rows_are_centred_and_scaled(rows: data.Rows) -> None:
    assert rows.train.shape == (512, 24) and rows.validation.shape == (100, 24)
    assert float(rows.train.mean(0).abs().max()) < 1e-6
    assert float(rows.train.square().sum(1).mean()) == pytest.approx(1, rel=1e-5)


def test_quality_compares_with_the_best_peer(rows: data.Rows) -> None:
    implementations: dict[str, type[Implementation]] = {"ours_float32": Float32, "a_peer": DenseAutograd}
    document = quality.measure(rows, implementations, (Cell(32, 4),), epochs=3)
    (cell,) = document["cells"]
    assert cell["ev_total"]["a_peer"] > 0
    assert document["worst"]["ours_float32"] == pytest.approx(
        cell["ev_total"]["ours_float32"] - cell["ev_total"]["a_peer"]
    )
    assert "a_peer" in table.quality({**document, "left_out": {}})

    alone = quality.measure(rows, {"ours_float32": Float32}, (Cell(32, 4),), epochs=1)
    assert alone["worst"] == {}
    assert "ours_float32" in table.quality({**alone, "left_out": {"sparsify": "not here"}})


FORWARD = {
    "sparsify": lambda peer, x: peer.coder(x).sae_out,
    "saelens": lambda peer, x: peer.sae(x),
    "dictionary_learning": lambda peer, x: peer.trainer.ae(x),
    "overcomplete": lambda peer, x: peer.sae(x)[2],
}


@pytest.mark.parametrize("name", PEERS)
def test_a_peers_weights_are_read_right(name: str, rows: data.Rows) -> None:
    peers, left_out = find_peers()
    if name in left_out:
        pytest.skip(left_out[name])
    task = Task.on(rows.train).at(Cell(40, 5))
    peer = peers[name](task)
    for number in range(4):
        peer.step(task.batch(number))
    with torch.no_grad():
        torch.testing.assert_close(
            peer.model()(rows.validation), FORWARD[name](peer, rows.validation), rtol=0, atol=1e-5
        )
