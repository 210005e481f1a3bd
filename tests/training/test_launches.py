"""What a step of the GPU's trainer asks of the device, counted on any device: how many operators, and none that waits.

An operator is at least one launch; most are one, top-k and the sums of large tensors two or three.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sae.training import batched
from sae.training.batched import BatchedTrainer
from sae.training.config import from_settings
from sae.training.rows import ResidentRows

WITHOUT_AUXK, WITH_AUXK = 38, 70

# Operators whose result the host needs before it can go on: it would wait for everything queued before.
WAITING = {
    "aten._local_scalar_dense",
    "aten.item",
    "aten.is_nonzero",
    "aten.equal",
    "aten.nonzero",
    "aten.masked_select",
    "aten.masked_scatter",
    "aten.unique_dim",
    "aten._unique2",
    "aten.unique_consecutive",
    "aten.bincount",
    "aten.repeat_interleave",
    "aten.allclose",
}
FREE = {  # no work on the device
    "aten.view",
    "aten._unsafe_view",
    "aten.expand",
    "aten.unsqueeze",
    "aten.select",
    "aten.slice",
    "aten.transpose",
    "aten.detach",
    "aten.alias",
    "aten.empty",
    "aten.empty_like",
}


class Operators(TorchDispatchMode):
    """Notes every operator that comes by, and those among them that wait for the device."""

    def __init__(self):
        super().__init__()
        self.counted, self.waiting = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = str(func.overloadpacket)
        if name not in FREE:
            self.counted.append(name)
        tensors = [item for arg in args for item in (arg if isinstance(arg, (list, tuple)) else [arg])]
        masked = name.startswith("aten.index") and any(
            isinstance(item, torch.Tensor) and item.dtype in (torch.bool, torch.uint8) for item in tensors
        )
        # masked_fill_ with a tensor for its value reads that value on the host.
        read = name == "aten.masked_fill_" and isinstance(args[2], torch.Tensor)
        made = func(*args, **kwargs)
        moved = name == "aten._to_copy" and made.device != args[0].device
        if name in WAITING or masked or read or moved:
            self.waiting.append(name)
        return made


def trainer_of(x, ks, **settings):
    configs = [from_settings({"d_sae": 40, "batch_size": 64, **settings, "k": k}) for k in ks]
    return BatchedTrainer(configs, ResidentRows(x))


def step_of(trainer, batch):
    """The second step: what is made once has been made."""
    trainer.step(batch)
    with Operators() as operators:
        trainer.step(batch)
    return operators


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize("selection", ["signed", "magnitude"])
@pytest.mark.parametrize(("window", "most"), [(10**9, WITHOUT_AUXK), (1, WITH_AUXK)])
def test_operators_of_a_step(x, device, window, most, selection, precision):
    """Below a stated number, whatever the number of members, and none of them waits for the device."""
    settings = {"auxk_window": window, "selection": selection, "precision": precision}
    rows = x.to(device)
    alone, four = (step_of(trainer_of(rows, ks, **settings), rows[:64]) for ks in ([4], [1, 4, 9, 12]))
    assert four.counted == alone.counted
    assert len(four.counted) <= most, four.counted
    assert four.waiting == alone.waiting == []


def test_bfloat16_adds_the_rounding_of_operands_alone(x, device):
    rows = x.to(device)
    plain, rounded = (
        step_of(trainer_of(rows, [2, 5], precision=precision, auxk_coefficient=0), rows[:64])
        for precision in ("float32", "bfloat16")
    )
    # seven operands; on a device that rounds the products too, these are made float32 again and added to
    assert len(rounded.counted) <= len(plain.counted) + 7 + 7
    assert rounded.waiting == []


def test_an_operator_that_waits_is_noticed(x):
    with Operators() as operators:
        float(x.sum())
        x[x > 0]
        x[:, 0].clone().masked_fill_(x[:, 0] > 0, torch.tensor(0.0))
    assert len(operators.waiting) >= 3


def on_no_real_gpu(trainer):
    """The trainer's tensors on a GPU that only keeps account of shapes, types and devices."""

    def there(value):
        if isinstance(value, torch.Tensor):
            return torch.empty(value.shape, dtype=value.dtype, device="cuda")
        if isinstance(value, dict):
            return {key: there(item) for key, item in value.items()}
        return [there(item) for item in value] if isinstance(value, list) else value

    for name, value in vars(trainer).items():
        setattr(trainer, name, there(value))
    trainer.device = torch.device("cuda")
    return trainer


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("settings", [{}, {"selection": "magnitude", "loss": "mse", "subtract_b_dec": False}])
def test_a_step_stays_on_the_gpu(x, monkeypatch, precision, settings):
    """PyTorch's stand-in for a device refuses tensors of two devices in one operator and reading one on the host."""
    trainer = trainer_of(x, [2, 5, 9], precision=precision, auxk_window=1, **settings)
    given = []

    def adam(*lists, lr, **options):  # which the stand-in can't carry out
        given.extend([lr, *(tensor for tensors in lists for tensor in tensors)])

    monkeypatch.setattr(batched, "adam", adam)
    with FakeTensorMode():
        on_no_real_gpu(trainer)
        for size in (64, 10):
            loss = trainer.step(torch.empty(size, 12, device="cuda"))
            assert len(given) == 1 + 5 * 4 and all(tensor.device.type == "cuda" for tensor in given)
            given.clear()
            assert loss.shape == (3,) and loss.dtype == torch.float32 and loss.device.type == "cuda"


def test_the_stand_in_refuses_two_devices():
    with FakeTensorMode(), pytest.raises(FakeTensorDeviceMismatchError):
        torch.empty(3, device="cuda") + torch.zeros(3)
