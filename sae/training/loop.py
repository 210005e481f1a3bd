"""The loop over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from sae.training.config import TrainingConfig
from sae.training.group import build
from sae.training.rows import Rows
from sae.training.training import Trained, Training, Watch


def train(
    configs: Sequence[TrainingConfig],
    rows: Rows,
    x_validation: Tensor | None = None,
    *,
    principal: Tensor | None = None,
    checkpoints: Sequence[Path] = (),
    watch: Watch = lambda member, fraction, history: None,
) -> list[Trained]:
    """Train the SAEs of one group (`sae.training.group`) on the same batches.

    The order of rows depends on the seed and the epoch alone, so a resumed run and a run in company see the same
    batches as one that runs undisturbed and alone.

    Args:
        x_validation: held-out rows for the validation curve, on the device of the rows.
        principal: principal directions of the training rows, where they are known already (many runs, one slice).
        checkpoints: a path for each config; written every few seconds, and read at the start if all are there and
            alike; deleted by whoever keeps the results.
    """
    training = Training(build(configs, rows, principal), rows.n, x_validation, checkpoints, watch)
    trainer, config = training.trainer, configs[0]
    while not training.finished:
        epoch, within = divmod(trainer.step_number, trainer.steps_per_epoch)
        for batch in rows.batches(config.seed, epoch, config.batch_size, within):
            training.step(batch)
    return [training.trained(member) for member in range(len(configs))]
