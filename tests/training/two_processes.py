"""What each of torchrun's processes does in test_data_parallel: train its cases, and leave what came out of them."""

import sys
from pathlib import Path
from typing import Any

import torch

from sae.training.config import from_settings
from sae.training.data_parallel import joined, lead, orders
from sae.training.group import build
from sae.training.rows import ResidentRows
from sae.training.topk import TopKTrainer

FIRST_STEPS = 20

# Settings that differ between members, then those that they share. 700 rows do not divide evenly by any of the batches,
# nor most batches by two; of 233 the last one has a single row, so one process has none.
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "auxk from the third step": ([{"k": 4}], {"batch_size": 65, "auxk_window": 120, "epochs": 15}),
    "a batch of one row": ([{"k": 4}], {"batch_size": 233, "selection": "magnitude", "loss": "mse", "epochs": 8}),
    "a group": ([{"k": 2}, {"k": 5}], {"batch_size": 64, "auxk_window": 300, "epochs": 3, "subtract_b_dec": False}),
}


def trained(case, x, make):
    """Weights after the first steps and at the end, and losses [steps, members], of the trainer that `make` makes."""
    members, shared = CASES[case]
    configs = [from_settings({"d_sae": 30, **shared, **member}) for member in members]
    rows = ResidentRows(x)
    trainer = make(configs, rows)
    losses, first = [], {}
    for epoch in range(configs[0].epochs):
        for batch in rows.batches(0, epoch, configs[0].batch_size):
            losses.append(trainer.step(batch).clone())
            if trainer.step_number == FIRST_STEPS:
                first = {name: value.clone() for name, value in trainer.weights.items()}
    held = {f"end.{name}": value for name, value in trainer.held().items()}
    return {**{f"first.{name}": value for name, value in first.items()}, **held, "losses": torch.stack(losses)}


def aligned(configs, rows):
    trainer = build(configs, rows)
    assert isinstance(trainer, TopKTrainer)
    if torch.distributed.get_rank():
        for value in trainer.weights.values():
            value.normal_()  # what the first process has counts
        trainer.step_number = 3
    trainer.align()
    return trainer


def main(x_file, folder):
    x = torch.load(x_file, weights_only=True)
    with joined("cpu"):
        rank = torch.distributed.get_rank()
        if rank == 0:
            cases = []
            for case in CASES:
                lead(case)
                cases.append(case)
                torch.save(trained(case, x, aligned), folder / f"{case} 0.pt")
            lead(None)
        else:
            for case in orders():
                torch.save(trained(case, x, aligned), folder / f"{case} {rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
