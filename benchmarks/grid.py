"""`python -m benchmarks.grid [--quick] [--json]`: training the grid of 12, ours against others and against the machine.

CPU time on one thread in one process. `--quick` takes the plain reference alone as the other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks import data, ours, roofline, table
from benchmarks.peers import find_peers
from benchmarks.reference import DenseAutograd
from benchmarks.task import BATCH_SIZE, GRID, LARGE, STEPS, Cell, Implementation, Task
from benchmarks.timing import Effort, interleaved, keep_memory, one_thread, return_memory

OURS: dict[str, type[Implementation]] = {"ours_float32": ours.Float32, "ours_bfloat16": ours.BFloat16}
AUXK: dict[str, type[Implementation]] = {
    "ours_off": ours.Float32,
    "ours_nothing_dead": ours.AuxK,
    "ours_most_dead": ours.AuxKBusy,
}
D_IN = 2_048


class Plan(NamedTuple):
    """What is measured, and how long."""

    grid: Sequence[Cell]
    effort: Effort
    large: Cell | None
    large_effort: Effort
    roofline_repeats: int = 15


FULL = Plan(GRID, Effort(blocks=9, steps=2), LARGE, Effort(blocks=5, steps=1))
QUICK = Plan(GRID, Effort(blocks=7, steps=2), None, Effort(blocks=1, steps=1))


def measure(rows: Tensor, others: Mapping[str, type[Implementation]], plan: Plan) -> dict[str, Any]:
    """The whole document but for what was left out.

    Args:
        rows: as `Task.rows`, [n, d_in].
        others: whom ours is compared with, by the name that `ratios` has.
    """
    implementations = {**OURS, **others}
    task = Task.on(rows)
    cells = [_cell(task, cell, implementations, plan) for cell in plan.grid]
    seconds = {name: sum(line["ms"][name]["median"] for line in cells) * STEPS / 1e3 for name in implementations}
    floors = {
        p: sum(sum(line["floor_ms"][p].values()) for line in cells) * STEPS / 1e3 for p in ("float32", "bfloat16")
    }
    document: dict[str, Any] = {
        "ratios": _ratios(seconds, "ours_float32", others),
        "ratios_bfloat16": _ratios(seconds, "ours_bfloat16", others),
        "grid_cpu_seconds": seconds,
        "floor_cpu_seconds": floors,
        "share_of_floor": {precision: floors[precision] / seconds[f"ours_{precision}"] for precision in floors},
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "d_in": task.d_in,
        "cells": cells,
    }
    of_auxk = [cell for cell in plan.grid if cell.k == 20] or plan.grid[:1]
    document["auxk"] = [_cell(task, cell, AUXK, plan) for cell in of_auxk]
    if plan.large:
        large = _cell(task, plan.large, implementations, plan._replace(effort=plan.large_effort))
        times = {name: spent["median"] for name, spent in large["ms"].items()}
        document["large"] = {
            **large,
            "ratios": _ratios(times, "ours_float32", others),
            "ratios_bfloat16": _ratios(times, "ours_bfloat16", others),
        }
    document["machine"] = roofline.machine()
    return document


def _cell(task: Task, cell: Cell, implementations: Mapping[str, type[Implementation]], plan: Plan) -> dict[str, Any]:
    """One cell's times, and the roofline taken right after them: others may be at work on the machine."""
    times = interleaved(task.at(cell), implementations, plan.effort)
    said = ", ".join(f"{name} {spent.median:.1f}" for name, spent in times.items())
    _say(f"d_sae {cell.d_sae}, K {cell.k}, ms a step: {said}")
    roof = roofline.measure(cell, task.d_in, plan.roofline_repeats)
    return_memory()
    return {
        **cell._asdict(),
        "ms": {name: spent._asdict() for name, spent in times.items()},
        "roofline": roof._asdict(),
        "floor_ms": {precision: roof.floor(precision) for precision in ("float32", "bfloat16")},
    }


def _ratios(spent: Mapping[str, float], mine: str, others: Mapping[str, object]) -> dict[str, float]:
    """How many times as long each of the others takes."""
    return {name: spent[name] / spent[mine] for name in others}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the dense reference alone, in less than five minutes")
    parser.add_argument("--json", action="store_true", help="one document on standard output instead of the table")
    arguments = parser.parse_args()
    one_thread()
    keep_memory()
    with contextlib.redirect_stdout(sys.stderr):  # peers print when they are imported
        others: dict[str, type[Implementation]] = {"dense_autograd": DenseAutograd}
        left_out: dict[str, str] = {}
        if not arguments.quick:
            peers, left_out = find_peers()
            others |= peers
        for name, reason in left_out.items():
            _say(f"{name} is left out: {reason}")
        document = measure(data.planted(D_IN).train, others, QUICK if arguments.quick else FULL)
        document["left_out"] = left_out
    print(json.dumps(document, indent=1) if arguments.json else table.grid(document))


if __name__ == "__main__":
    main()
