"""The loop over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from sae.common.errors import Cancelled
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
    step_through([training], rows)
    return [training.trained(member) for member in range(len(configs))]


def step_through(trainings: Sequence[Training], rows: Rows) -> None:
    """Step trainings of one seed and batch size to their end, over the same batches.

    They take turns, a section of the rows at a time (`Rows.sections`), so what is read is read once for all of them.
    Each goes on from its own step. When one is cancelled, all write their checkpoints before that goes on.
    """
    try:
        while left := [training for training in trainings if not training.finished]:
            earliest = min((training.trainer for training in left), key=lambda trainer: trainer.step_number)
            epoch, within = divmod(earliest.step_number, earliest.steps_per_epoch)
            config, before = earliest.common, epoch * earliest.steps_per_epoch
            for section in rows.sections(config.seed, epoch, config.batch_size, within):
                for training in left:
                    with training.timed():
                        for number, batch in section:
                            if before + number == training.trainer.step_number:
                                training.step(batch)
    except Cancelled:
        for training in trainings:
            training.save()
        raise
