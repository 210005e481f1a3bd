"""`python -m sae.workspace.probe WORKSPACE SPEC DEVICE`: estimates an experiment in a process of its own, so that the
app need not import torch."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from sae.capture.run_rows import rows_read
from sae.common.devices import available, choose
from sae.common.errors import UserError
from sae.workspace.folder import Workspace
from sae.workspace.register import planned


def estimate(workspace: Workspace, spec: dict[str, Any], device: str) -> dict[str, Any]:
    """See `sae.workspace.start.estimate_experiment`."""
    import torch

    from sae.experiments.cost import Cost
    from sae.experiments.plan import Spec

    torch.set_num_threads(int(os.environ.get("SAE_THREADS") or os.cpu_count() or 1))
    wanted = Spec(**spec)
    plan = planned(workspace, wanted)
    # Slices of one capture have as many rows each.
    piece = rows_read(workspace.open_activations(wanted.activations), plan.runs[0].place)
    chosen = choose(device)
    cost = Cost([run.config for run in plan.runs], piece, chosen)
    seconds = [cost.run(run.config) for run in plan.runs]
    slices = len({run.place_key for run in plan.runs})
    return {
        "runs": len(plan.runs),
        "seconds": cost.startup_seconds + slices * cost.slice_seconds + sum(seconds),
        "device": chosen,
        "device_name": next(d.title for d in available() if d.name == chosen),
        "memory_bytes": cost.memory_bytes,
        "disk_bytes": sum(cost.disk_bytes(run.config) for run in plan.runs),
        "cells": [{**run.factors, "seconds": s} for run, s in zip(plan.runs, seconds, strict=True)],
    }


if __name__ == "__main__":
    try:
        print(json.dumps(estimate(Workspace.at(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3])))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
