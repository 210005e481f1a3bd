"""`python -m sae.workspace.probe WORKSPACE SPEC DEVICE`: estimates an experiment in a process of its own, so that the
app need not import torch."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from sae.capture.run_rows import rows_read
from sae.common.devices import available, choose
from sae.common.errors import UserError
from sae.workspace.folder import Workspace
from sae.workspace.register import planned

if TYPE_CHECKING:
    from sae.experiments.plan import RunPlan


def estimate(workspace: Workspace, spec: dict[str, Any], device: str) -> dict[str, Any]:
    """See `sae.workspace.start.estimate_experiment`."""
    import torch

    from sae.experiments.cost import Cost
    from sae.experiments.plan import Spec

    torch.set_num_threads(int(os.environ.get("SAE_THREADS") or os.cpu_count() or 1))
    wanted = Spec(**spec)
    plan = planned(workspace, wanted)
    chosen, activations = choose(device), workspace.open_activations(wanted.activations)
    # Slices of one capture have as many rows each, and one width; crosscoders read several at once.
    alike: dict[int, list[RunPlan]] = {}
    for run in plan.runs:
        alike.setdefault(len(run.config.layers_read or (0,)), []).append(run)
    costs: dict[str, Cost] = {}
    shared, memory = 0.0, 0
    for runs in alike.values():
        cost = Cost([run.config for run in runs], rows_read(activations, runs[0].place), chosen)
        shared += (0.0 if costs else cost.startup_seconds) + len({run.place_key for run in runs}) * cost.slice_seconds
        memory = max(memory, cost.memory_bytes)
        costs |= {run.id: cost for run in runs}
    seconds = [costs[run.id].run(run.config) for run in plan.runs]
    return {
        "runs": len(plan.runs),
        "seconds": shared + sum(seconds),
        "device": chosen,
        "device_name": next(d.title for d in available() if d.name == chosen),
        "memory_bytes": memory,
        "disk_bytes": sum(costs[run.id].disk_bytes(run.config) for run in plan.runs),
        "cells": [{**run.factors, "seconds": s} for run, s in zip(plan.runs, seconds, strict=True)],
    }


if __name__ == "__main__":
    try:
        print(json.dumps(estimate(Workspace.at(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3])))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
