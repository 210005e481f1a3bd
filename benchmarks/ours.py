"""SAE Workbench's own engine, in exact float32 and with bfloat16 operands, and with AuxK."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from benchmarks.task import BATCH_SIZE, LR, Task
from sae.models.topk import TopK
from sae.training.group import build
from sae.training.rows import ResidentRows
from sae.training.topk_config import TopKConfig


def start(task: Task) -> TopK:
    """The weights that ours starts from."""
    return Float32(task).model()


class Float32:
    settings: ClassVar[dict[str, Any]] = {"auxk_coefficient": 0.0}

    def __init__(self, task: Task) -> None:
        config = TopKConfig(
            d_sae=task.cell.d_sae,
            k=task.cell.k,
            epochs=task.epochs,
            batch_size=BATCH_SIZE,
            lr=LR,
            seed=task.seed,
            **self.settings,
        )
        self.trainer = build([config], ResidentRows(task.rows), task.principal)

    def step(self, x: Tensor) -> Tensor:
        """Returns the mean squared error per element, [1]."""
        return self.trainer.step(x)

    def model(self) -> TopK:
        model = self.trainer.finished_model()
        assert isinstance(model, TopK)
        return model


class BFloat16(Float32):
    settings: ClassVar[dict[str, Any]] = {"auxk_coefficient": 0.0, "precision": "bfloat16"}


class AuxK(Float32):
    """As the default configuration trains: no feature is dead before two epochs are over."""

    settings: ClassVar[dict[str, Any]] = {}


class AuxKBusy(Float32):
    """Every feature that did not fire in the batch before counts as dead: more than any run has."""

    settings: ClassVar[dict[str, Any]] = {"auxk_window": BATCH_SIZE}
