"""The GPU's benchmark on whatever is here: it trains what it says."""

from benchmarks import data
from benchmarks.gpu import measure, table
from benchmarks.task import BATCH_SIZE, Cell


def test_it_times_every_group():
    rows = data.planted(16, 2 * BATCH_SIZE, 64).train
    document = measure(rows, [Cell(32, 2), Cell(32, 4), Cell(48, 2)], "cpu", "float32", epochs=2)
    assert [(group["d_sae"], group["k"]) for group in document["groups"]] == [(32, [2]), (32, [4]), (48, [2])]
    assert all(group["steps"] == 4 and group["step_seconds"] > 0 for group in document["groups"])
    assert document["seconds"] >= document["step_seconds"]
    assert len(table(document).splitlines()) == 4 + 3 + 2
