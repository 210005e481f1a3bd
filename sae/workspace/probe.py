"""`python -m sae.workspace.probe WORKSPACE SPEC DEVICE`: estimates an experiment in a process of its own, so that the
app need not import torch."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from sae.common.devices import available, choose
from sae.common.errors import UserError
from sae.workspace.folder import Workspace
from sae.workspace.register import planned

# Beside the steps: encoding all rows, metrics, feature and pair tables of a run, as a share of its training (measured
# on the demo's grid).
AFTERWARDS = 0.15


def estimate(workspace: Workspace, spec: dict[str, Any], device: str) -> dict[str, Any]:
    """See `sae.workspace.start.estimate_experiment`."""
    import torch

    from sae.experiments.plan import Spec
    from sae.training.probe import cell_key, run_bytes, total_seconds

    torch.set_num_threads(int(os.environ.get("SAE_THREADS") or os.cpu_count() or 1))
    wanted = Spec(**spec)
    plan = planned(workspace, wanted)
    # Slices of one capture have as many rows each.
    piece = workspace.open_activations(wanted.activations).slice(plan.runs[0].layer, plan.runs[0].position)
    n, d_in = len(piece.train_rows), piece.x.shape[1]
    chosen = choose(device)
    configs = [run.config for run in plan.runs]
    times = total_seconds(configs, d_in, n, chosen)
    seconds = [times[cell_key(config)] * (1 + AFTERWARDS) for config in configs]
    weights = [4 * (2 * d_in * config.d_sae + config.d_sae + d_in) for config in configs]
    codes = [2 * 8 * len(piece.x) * config.k for config in configs]
    return {
        "runs": len(configs),
        "seconds": sum(seconds),
        "device": chosen,
        "device_name": next(d.title for d in available() if d.name == chosen),
        "memory_bytes": max(run_bytes(config, d_in) for config in configs) + 4 * len(piece.x) * d_in,
        "disk_bytes": sum(weights) + sum(codes),
        "cells": [{**run.factors, "seconds": s} for run, s in zip(plan.runs, seconds, strict=True)],
    }


if __name__ == "__main__":
    try:
        print(json.dumps(estimate(Workspace.at(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3])))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
