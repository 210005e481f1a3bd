"""Rows read in shuffled chunks: their order by hand, resume in the middle of an epoch, groups that share buffers."""

import numpy as np
import pytest
import torch

from sae.common.errors import Cancelled
from sae.common.row_reader import RowBlocks, RowReader, sample
from sae.training.group import build
from sae.training.loop import step_through, train
from sae.training.rows import ResidentRows, moments_of
from sae.training.streamed_rows import StreamedRows, chunk_rows_for
from sae.training.topk_config import TopKConfig
from sae.training.training import Training, begun


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A memory map [1,000, 12] of float16 with two other rows in front, and which 700 of its rows are trained on."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    np.save(path, generator.standard_normal((1002, 12)).astype(np.float16) + 2)
    numbers = np.sort(generator.choice(1000, 700, replace=False))
    return np.load(path, mmap_mode="r")[2:], numbers


def streamed(stored, chunk_rows=16, buffer_rows=100):
    x, numbers = stored
    return StreamedRows(x, numbers, chunk_rows, buffer_rows=buffer_rows)


def wanted(stored):
    x, numbers = stored
    return torch.from_numpy(np.asarray(x)[numbers].astype(np.float32))


def test_statistics_blocks_and_rows_by_number_equal_those_of_resident_rows(stored):
    rows, x = streamed(stored), wanted(stored)
    assert (rows.n, rows.d_in) == (700, 12)
    exact = x.double()
    torch.testing.assert_close(rows.mean.double(), exact.mean(0), rtol=0, atol=1e-6)
    assert rows.centred_norm == pytest.approx(float((exact - exact.mean(0)).square().sum(1).mean() ** 0.5), rel=1e-12)
    assert rows.moments.centred_norm == ResidentRows(x).moments.centred_norm
    torch.testing.assert_close(torch.cat(list(rows.blocks())), x)
    numbers = torch.tensor([5, 699, 0, 5])
    torch.testing.assert_close(rows.take(numbers), x[numbers])


def test_moments_keep_their_digits_far_from_zero():
    x = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) * 1e-3 + 1000
    found = moments_of(x.split(700))
    exact = x.double()
    assert found.centred_norm == pytest.approx(float((exact - exact.mean(0)).square().sum(1).mean() ** 0.5), rel=1e-9)
    assert moments_of(torch.full((100, 3), 0.1).split(30)).centred_norm == 0


@pytest.mark.parametrize("size", [64, 100, 250])
def test_an_epoch_has_every_row_once_and_few_chunks_at_a_time(stored, size):
    x = wanted(stored)
    rows = streamed(stored)
    batches = list(rows.batches(3, 1, size))
    assert [len(batch) for batch in batches] == [size] * (700 // size) + ([700 % size] if 700 % size else [])
    seen = torch.cat(batches)
    place = {tuple(row.tolist()): number for number, row in enumerate(x)}
    order = [place[tuple(row.tolist())] for row in seen]
    assert sorted(order) == list(range(700))
    assert order != sorted(order)
    # a buffer of 100 rows has six chunks of 16: its rows are those of six chunks and no others, in another order
    chunks = np.array(order) // 16
    ends, left = [], chunks
    while len(left):
        buffer = [chunk for chunk in dict.fromkeys(left.tolist())][:6]
        rows_of = int(np.isin(np.arange(700) // 16, buffer).sum())
        assert set(left[:rows_of].tolist()) == set(buffer)
        assert (np.diff(left[:rows_of]) != 0).sum() > 20 or rows_of < 60
        ends.append(rows_of)
        left = left[rows_of:]
    assert sum(ends) == 700 and len(ends) == -(-44 // 6)


def test_order_depends_on_seed_and_epoch_alone(stored):
    def order(seed, epoch, rows):
        return torch.cat(list(rows.batches(seed, epoch, 64)))

    rows = streamed(stored)
    first = order(0, 0, rows)
    list(rows.batches(5, 5, 100))
    assert torch.equal(first, order(0, 0, rows))
    assert torch.equal(first, order(0, 0, streamed(stored)))
    assert not torch.equal(first, order(0, 1, rows)) and not torch.equal(first, order(1, 0, rows))


@pytest.mark.parametrize(
    ("size", "chunk_rows", "buffer_rows"), [(64, 16, 100), (250, 16, 100), (64, 1, 5), (7, 900, 9)]
)
def test_batches_from_any_number_on_equal_the_end_of_the_epoch(stored, size, chunk_rows, buffer_rows):
    rows = streamed(stored, chunk_rows, buffer_rows)
    whole = list(rows.batches(1, 2, size))
    assert sum(map(len, whole)) == 700
    for first in range(len(whole)):
        rest = list(rows.batches(1, 2, size, first))
        assert len(rest) == len(whole) - first
        for found, expected in zip(rest, whole[first:], strict=True):
            assert torch.equal(found, expected)


def test_a_run_that_was_stopped_anywhere_ends_with_the_same_weights(stored, tmp_path):
    """At one thread, stopped at random steps, each in the middle of an epoch and mostly in the middle of a buffer."""
    config = TopKConfig(d_sae=40, k=4, epochs=4, batch_size=32, chunk_rows=16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = train([config], streamed(stored))[0]
        path = tmp_path / "checkpoint.safetensors"
        total = config.epochs * 22
        for stop in sorted(np.random.default_rng(4).choice(np.arange(1, total), 6, replace=False)):

            def watch(member, fraction, history, stop=stop):
                if round(fraction * total) >= stop:
                    raise Cancelled

            with pytest.raises(Cancelled):
                train([config], streamed(stored), checkpoints=[path], watch=watch)
            assert begun(path) == (stop, 16)
        resumed = train([config], streamed(stored), checkpoints=[path])[0]
    finally:
        torch.set_num_threads(threads)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert torch.equal(whole.last_fired, resumed.last_fired)


def test_runs_that_share_buffers_equal_themselves_alone(stored, tmp_path):
    """Different sizes, K and epochs; one goes on from the middle of its second epoch, and all are stopped once."""
    configs = [
        TopKConfig(d_sae=40, k=4, epochs=3, batch_size=64, chunk_rows=16),
        TopKConfig(d_sae=24, k=2, epochs=3, batch_size=64, chunk_rows=16),
        TopKConfig(d_sae=30, k=3, epochs=2, batch_size=64, chunk_rows=16),
    ]
    alone = [train([config], streamed(stored))[0].model for config in configs]
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]

    def together(stop):
        rows = streamed(stored)
        watches = [stop_at(stop), stop_at(2), stop_at(2)]
        trainings = [
            Training(build([config], rows), rows.n, None, [path], watch)
            for config, path, watch in zip(configs, paths, watches, strict=True)
        ]
        step_through(trainings, rows)
        return [training.trained(0).model for training in trainings]

    with pytest.raises(Cancelled):
        train([configs[1]], streamed(stored), checkpoints=[paths[1]], watch=stop_at(17 / 33))
    with pytest.raises(Cancelled):
        together(9 / 33)
    steps = [found.step if (found := begun(path)) else None for path in paths]
    assert steps == [9, 17, 7]  # the third had not had its turn
    for found, expected in zip(together(2), alone, strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(found.state_dict()[name], value)


def stop_at(share):
    def watch(member, fraction, history):
        if fraction >= share:
            raise Cancelled

    return watch


def test_a_file_that_can_not_be_read_ends_training(stored, monkeypatch):
    rows = streamed(stored)

    def broken(numbers, out=None):
        raise OSError("the disk is gone")

    monkeypatch.setattr(rows._reader, "rows", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        list(rows.batches(0, 0, 64))


def test_the_memory_decides_and_a_setting_overrules_it(monkeypatch):
    monkeypatch.setattr("sae.training.streamed_rows.free_memory", lambda device: 8 * 1000 * 256)
    assert chunk_rows_for(1000, 256, "cpu") == 0  # 4 bytes of each: just half of what is free
    assert chunk_rows_for(1001, 256, "cpu") == 2048  # 2 MB
    assert chunk_rows_for(10, 256, "cpu", wanted=7) == 7


def test_reading_through_the_file_equals_indexing(stored):
    x, numbers = stored
    for array in (x, np.asarray(x), np.array(x), np.asfortranarray(x)):
        reader = RowReader(array)
        np.testing.assert_array_equal(reader.span(10, 40), x[10:40])
        for some in (numbers, numbers[:0], np.array([3]), np.array([0, 1, 2, 900, 999])):
            np.testing.assert_array_equal(reader.rows(some), x[some])
    blocks = RowBlocks(x, numbers)
    assert len(blocks) == 700 and all(block.dtype == torch.float32 for block in blocks)
    torch.testing.assert_close(torch.cat(list(blocks)), wanted(stored))


def test_a_sample_is_spread_evenly():
    numbers = np.arange(0, 200_000, 2)
    assert sample(numbers, 100_000) is numbers
    found = sample(numbers, 2048)
    assert len(found) == 2048 and len(np.unique(found)) == 2048
    assert found[0] == 0 and found[-1] == numbers[-1]
    runs = np.flatnonzero(np.diff(found) > 2)
    assert len(runs) == 7 and np.ptp(np.diff(runs)) == 0
    assert len(sample(np.arange(300), 299)) == 256
