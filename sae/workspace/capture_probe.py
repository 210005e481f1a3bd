"""`python -m sae.workspace.capture_probe SPEC DEVICE`: estimates a capture in a process of its own, so that the app
need not import torch."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from sae.common.devices import choose
from sae.common.errors import UserError


def estimate(spec: dict[str, Any], device: str) -> dict[str, Any]:
    """See `sae.workspace.start.estimate_capture`."""
    from sae import problems
    from sae.capture import estimate as measure
    from sae.capture import parse_layers
    from sae.language_models import load

    layers = spec["layers"]
    found = problems.load(spec["problems"], limit=spec.get("limit"), seed=spec.get("seed", 0))
    model = load(spec["model"], device=choose(device))
    cost = measure(
        model,
        found.table(),
        layers=parse_layers(layers) if isinstance(layers, str) else layers,
        positions=spec["positions"],
        text=spec["text"],
        dtype=spec["dtype"],
    )
    shape = {"examples": len(found.examples), "d_in": model.d_model, "n_layers": model.n_layers}
    return {**shape, **dataclasses.asdict(cost)}


if __name__ == "__main__":
    try:
        print(json.dumps(estimate(json.loads(sys.argv[1]), sys.argv[2])))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
