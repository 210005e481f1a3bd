"""Two real processes by torchrun, over gloo, give the weights of one."""

import subprocess
import sys

import pytest
import torch

from sae.training.batched import BatchedTrainer
from sae.training.group import build
from tests.training.two_processes import CASES, trained


@pytest.fixture(scope="module")
def of_two(x, tmp_path_factory, repository):
    """By case and process: what came out."""
    folder = tmp_path_factory.mktemp("two")
    torch.save(x, folder / "x.pt")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    work = ["-m", "tests.training.two_processes", str(folder / "x.pt"), str(folder)]
    done = subprocess.run([sys.executable, *command, *work], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {case: [torch.load(folder / f"{case} {rank}.pt", weights_only=True) for rank in (0, 1)] for case in CASES}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("make", [BatchedTrainer, build])
def test_weights_over_the_first_steps(x, of_two, case, make):
    """Against the same step in one process, and (`build`, without a group) against the CPU's own."""
    if make is build and len(CASES[case][0]) > 1:
        pytest.skip("the CPU trains no groups")
    alone, shared = trained(case, x, make), of_two[case][0]
    for name in alone:
        if name.startswith("first."):
            torch.testing.assert_close(shared[name], alone[name], rtol=0, atol=1e-4, msg=name)
    torch.testing.assert_close(shared["losses"][:20], alone["losses"][:20], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_explained_variance_at_the_end(x, of_two, case):
    alone, shared = trained(case, x, BatchedTrainer)["losses"], of_two[case][0]["losses"]
    variance = (x - x.mean(0)).square().mean()
    assert alone.shape == shared.shape
    epoch = -(-len(x) // CASES[case][1]["batch_size"])
    assert ((alone[-epoch:] - shared[-epoch:]).mean(0) / variance).abs().max() < 0.002


@pytest.mark.parametrize("case", CASES)
def test_processes_hold_the_same(of_two, case):
    """Weights, moments and when each feature last fired, bit for bit."""
    first, second = of_two[case]
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert first["end.last_fired"].max() == 700 * CASES[case][1]["epochs"]
