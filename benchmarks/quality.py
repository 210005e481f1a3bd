"""`python -m benchmarks.quality [--activations NAME] [--epochs N] [--json]`: held-out EV of ours beside the peers'.

Every implementation trains each cell of the grid on the same batches at the same rate, and the same evaluation measures
them on the same held-out rows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import data, table
from benchmarks.grid import OURS
from benchmarks.peers import find_peers
from benchmarks.task import EPOCHS, GRID, Cell, Implementation, Task
from benchmarks.timing import keep_memory, one_thread
from sae.common.errors import UserError
from sae.evaluation.reconstruction import encode_rows, metrics
from sae.models.topk import TopK

D_IN = 512  # of planted rows: a quarter of the grid's, so that all twelve cells take minutes at their full 25 epochs


def measure(
    rows: data.Rows, implementations: Mapping[str, type[Implementation]], cells: Sequence[Cell], epochs: int
) -> dict[str, Any]:
    """The whole document but for what was left out. Whose name does not begin with `ours` is a peer."""
    task = Task.on(rows.train, epochs)
    mine = [name for name in implementations if name.startswith("ours")]
    peers = [name for name in implementations if name not in mine]
    lines = []
    for cell in cells:
        ev = {name: _ev_total(_trained(task.at(cell), kind), rows) for name, kind in implementations.items()}
        above = {name: ev[name] - max(ev[peer] for peer in peers) for name in mine} if peers else {}
        lines.append({**cell._asdict(), "ev_total": ev, "above_best_peer": above})
        said = ", ".join(f"{name} {value:.3f}" for name, value in ev.items())
        print(f"d_sae {cell.d_sae}, K {cell.k}, held-out EV: {said}", file=sys.stderr, flush=True)
    return {
        "worst": {name: min(line["above_best_peer"][name] for line in lines) for name in mine} if peers else {},
        "epochs": epochs,
        "rows": {"train": len(rows.train), "validation": len(rows.validation), "d_in": task.d_in},
        "cells": lines,
    }


def _trained(task: Task, kind: type[Implementation]) -> TopK:
    implementation = kind(task)
    for number in range(task.steps):
        implementation.step(task.batch(number))
    return implementation.model()


def _ev_total(model: TopK, rows: data.Rows) -> float:
    n, d_in = rows.validation.shape
    codes, errors = encode_rows(model, rows.validation, rows.train.double().mean(0).numpy())
    return metrics(codes, errors, np.arange(n), d_in, model.d_sae)["ev_total"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--activations", metavar="NAME", help="rows of the workspace instead of planted ones")
    parser.add_argument("--layer", type=int, help="which slice of them")
    parser.add_argument("--position", type=int, help="which slice of them")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--json", action="store_true", help="one document on standard output instead of the table")
    arguments = parser.parse_args()
    one_thread()
    keep_memory()
    with contextlib.redirect_stdout(sys.stderr):  # peers print when they are imported
        try:
            if arguments.activations:
                rows = data.of_activations(arguments.activations, arguments.layer, arguments.position)
            else:
                rows = data.planted(D_IN)
        except UserError as error:
            parser.error(str(error))
        peers, left_out = find_peers()
        document = measure(rows, {**OURS, **peers}, GRID, arguments.epochs)
        document["left_out"] = left_out
    print(json.dumps(document, indent=1) if arguments.json else table.quality(document))


if __name__ == "__main__":
    main()
