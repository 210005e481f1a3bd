"""The recorded step without a GPU: a stand-in for CUDA graphs that replays operators on the places that they had.

As the real one it notes operators without leaving a trace of them, then repeats them on the same memory, with Python's
numbers as they were. So it shows what would go wrong in a graph: a result at a new place, a number that changes from
step to step and is not on the device, a tensor that is put in another's place.
"""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sae.training import cuda_graph
from sae.training.batched import BatchedTrainer
from sae.training.config import from_settings
from sae.training.cuda_graph import WARM_UP, Recorded
from sae.training.rows import ResidentRows


class Tape(TorchDispatchMode):
    """In place of `torch.cuda.CUDAGraph`."""

    def __init__(self):
        super().__init__()
        self.steps, self.before, self.made, self.replays = [], {}, set(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        flat = [item for arg in (*args, *kwargs.values()) for item in (arg if isinstance(arg, list) else [arg])]
        tensors = [item for item in flat if isinstance(item, torch.Tensor)]
        for tensor in tensors:
            place = tensor.untyped_storage()._cdata
            if place not in self.made and place not in self.before:
                self.before[place] = (tensor, tensor.untyped_storage().clone())
        result = func(*args, **kwargs)
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        given = {tensor.untyped_storage()._cdata for tensor in tensors}
        new = []
        for number, one in enumerate(results):
            if isinstance(one, torch.Tensor) and one.untyped_storage()._cdata not in given:
                self.made.add(one.untyped_storage()._cdata)
                new.append((number, one))
        self.steps.append((func, args, kwargs, new))
        return result

    def end(self):
        """Recording has changed nothing that was there before."""
        for tensor, storage in self.before.values():
            tensor.untyped_storage().copy_(storage)

    def replay(self):
        self.replays += 1
        for func, args, kwargs, new in self.steps:
            result = func(*args, **kwargs)
            results = list(result) if isinstance(result, (list, tuple)) else [result]
            for number, place in new:
                place.copy_(results[number])


@contextlib.contextmanager
def taping(tape, pool, stream):
    with tape:
        yield
    tape.end()


class Stream:
    def wait_stream(self, other):
        pass


@pytest.fixture
def graphs(monkeypatch):
    made = []

    def graph():
        made.append(Tape())
        return made[-1]

    stand_ins = {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "graph_pool_handle": lambda: (0, 0),
        "CUDAGraph": graph,
        "graph": taping,
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(cuda_graph.torch.cuda, name, value)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    return made


@pytest.mark.parametrize(
    "settings",
    [{}, {"selection": "magnitude", "subtract_b_dec": False, "decoder_norm": "initial"}, {"precision": "bfloat16"}],
)
def test_replayed_steps_equal_computed_ones(x, graphs, settings):
    """Seven epochs of eleven batches, the last one smaller; the rate decays, and AuxK begins on the way."""
    configs = [from_settings({"d_sae": 30, "k": k, "epochs": 7, "batch_size": 64, **settings}) for k in (2, 5)]
    rows = ResidentRows(x)
    plain, recorded = BatchedTrainer(configs, rows), BatchedTrainer(configs, rows)
    recorded._recorded = Recorded()
    for epoch in range(7):
        for batch in rows.batches(0, epoch, 64):
            torch.testing.assert_close(recorded.step(batch), plain.step(batch), rtol=0, atol=0)
    for name, value in plain.held().items():
        torch.testing.assert_close(recorded.held()[name], value, rtol=0, atol=0, msg=name)
    # full batches before and after AuxK's window, and the last of an epoch after it: two came before it
    assert [graph.replays for graph in graphs] == [20 - WARM_UP, 50 - WARM_UP, 5 - WARM_UP]


def test_a_restored_state_is_what_a_recording_goes_on_from(x, graphs):
    config = from_settings({"d_sae": 30, "k": 4, "epochs": 4, "batch_size": 100, "auxk_window": 100})
    rows = ResidentRows(x)
    plain, recorded = BatchedTrainer([config], rows), BatchedTrainer([config], rows)
    recorded._recorded = Recorded()
    batches = list(rows.batches(0, 0, 100))
    for batch in batches:
        recorded.step(batch)
    for batch in batches[:3]:
        plain.step(batch)
    recorded.restore(0, plain.state())
    for batch in batches:
        torch.testing.assert_close(recorded.step(batch), plain.step(batch), rtol=0, atol=0)
    assert sum(graph.replays for graph in graphs) == 2 * len(batches) - WARM_UP - 1


def test_the_stand_in_notices_a_number_that_is_not_on_the_device(x, graphs):
    """What it is for: a counter of Python's stays what it was when it was recorded."""
    total, count = torch.zeros(()), 0

    def step(x, flag):
        nonlocal count
        count += 1
        return total.add_(count).clone()

    recorded = Recorded()
    found = [float(recorded(step, x, False)) for _ in range(6)]
    assert found != [1, 3, 6, 10, 15, 21]
