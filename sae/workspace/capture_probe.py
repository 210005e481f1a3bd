"""`python -m sae.workspace.capture_probe SPEC DEVICE`: estimates a capture in a process of its own, so that the app
need not import torch."""

from __future__ import annotations

import json
import os
import sys

from sae.common.devices import choose
from sae.common.errors import UserError
from sae.workspace.captures import estimate

if __name__ == "__main__":
    import torch

    # As many as the job will have.
    torch.set_num_threads(int(os.environ.get("SAE_THREADS") or os.cpu_count() or 1))
    try:
        print(json.dumps(estimate(json.loads(sys.argv[1]), choose(sys.argv[2]))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
