"""On a GPU by CUDA alone: no step waits for the device, replays equal steps, groups equal runs alone."""

import pytest
import torch

from sae.training.batched import BatchedTrainer
from sae.training.config import from_settings
from sae.training.cuda_graph import WARM_UP, Recorded
from sae.training.group import groups
from sae.training.loop import train
from sae.training.rows import ResidentRows
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.start import start_experiment
from sae.workspace.work import perform
from tests.workspace.helpers import put_activations

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU by CUDA")


@pytest.fixture
def cuda(device):
    if not device.startswith("cuda"):
        pytest.skip("SAE_TEST_DEVICE is not a GPU by CUDA")
    return device


@pytest.fixture
def no_waiting():
    """Raises where the host waits for the device, from the call on."""

    def begin():
        torch.cuda.set_sync_debug_mode("error")

    yield begin
    torch.cuda.set_sync_debug_mode("default")


def trainer_on(x, device, ks=(2, 5, 9), **settings):
    configs = [from_settings({"d_sae": 40, "batch_size": 64, "epochs": 3, **settings, "k": k}) for k in ks]
    return BatchedTrainer(configs, ResidentRows(x.to(device)))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("auxk_window", [1, 10**9])
def test_no_step_waits(x, cuda, no_waiting, precision, auxk_window):
    """Computed and replayed, full and smaller batches, and fetching the batches of an epoch."""
    trainer = trainer_on(x, cuda, precision=precision, auxk_window=auxk_window)
    rows = ResidentRows(x.to(cuda))
    for _ in range(WARM_UP + 2):  # recording itself may wait
        for batch in (rows.x[:64], rows.x[:60]):
            trainer.step(batch)
    torch.cuda.synchronize()
    no_waiting()
    for batch in rows.batches(0, 1, 64):
        trainer.step(batch)
    trainer._recorded = None
    trainer.step(rows.x[:64])


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_replayed_steps_equal_computed_ones(x, cuda, precision):
    """Three epochs with a smaller last batch; AuxK begins in the third."""
    replayed, computed = (trainer_on(x, cuda, precision=precision) for _ in range(2))
    assert isinstance(replayed._recorded, Recorded)
    computed._recorded = None
    rows = ResidentRows(x.to(cuda))
    for epoch in range(3):
        for batch in rows.batches(0, epoch, 64):
            torch.testing.assert_close(replayed.step(batch), computed.step(batch), rtol=1e-4, atol=1e-6)
    for name, value in computed.weights.items():
        torch.testing.assert_close(replayed.weights[name], value, rtol=0, atol=1e-4, msg=name)


def test_tf32_is_left_as_it_was(x, cuda):
    before = torch.backends.cuda.matmul.fp32_precision
    trainer_on(x, cuda, precision="tf32").step(x[:64].to(cuda))
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_the_grids_groups_equal_runs_alone(x, cuda):
    """The grid of twelve, three groups, over the first steps."""
    configs = [
        from_settings({"d_sae": d_sae, "k": k, "epochs": 3, "batch_size": 64})
        for d_sae in (20, 40, 80)
        for k in (1, 2, 5, 9)
    ]
    rows = ResidentRows(x.to(cuda))
    found = groups(configs, cuda)
    assert [len(group) for group in found] == [4, 4, 4]
    for group in found:
        together = BatchedTrainer([configs[number] for number in group], rows)
        alone = [BatchedTrainer([configs[number]], rows) for number in group]
        for batch in list(rows.batches(0, 0, 64))[:8]:
            losses = together.step(batch)
            for member, trainer in enumerate(alone):
                torch.testing.assert_close(losses[member], trainer.step(batch)[0], rtol=1e-4, atol=1e-6)
        for member, trainer in enumerate(alone):
            for name, value in trainer.weights.items():
                torch.testing.assert_close(together.weights[name][member], value[0], rtol=0, atol=1e-4, msg=name)


def test_the_gpu_trains_as_well_as_the_cpu(x, cuda):
    """Held-out explained variance within .01 of the CPU's own step."""
    config = from_settings({"d_sae": 40, "k": 4, "epochs": 20, "batch_size": 64})
    found = []
    for device in ("cpu", cuda):
        rows = x.to(device)
        model = train([config], ResidentRows(rows[:600]))[0].model
        held_out = rows[600:]
        with torch.no_grad():
            missed = (model(held_out) - held_out).square().sum()
        found.append(float(1 - missed / (held_out - rows[:600].mean(0)).square().sum()))
    assert abs(found[0] - found[1]) < 0.01


def test_an_experiment_runs_on_the_gpu(tmp_path, cuda):
    """Rows, training, metrics, codes and curves of a small grid, as a job does it."""
    workspace = Workspace(tmp_path)
    put_activations(workspace)
    factors, settings = {"k": [2, 4], "d_sae": [32, 48]}, {"epochs": 20, "batch_size": 32}
    spec = {"kind": "topk-grid", "name": "grid", "activations": "rows", "factors": factors, "settings": settings}
    start_experiment(workspace, spec, device=cuda)
    perform(workspace, "experiment", spec, cuda, JobProgress(tmp_path))
    runs = workspace.experiment("grid").runs()
    assert [run.done for run in runs] == [True] * 4
    for run in runs:
        assert run.config["environment"]["device"] == cuda
        assert run.metrics["validation"]["ev_total"] > 0
        assert list(run.history()["step"])[-1] == 20 * 15
