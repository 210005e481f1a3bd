"""SAE Workbench: train, explore and share sparse autoencoders.

import sae
run = sae.open("corrected-d1024-k20-s0-1f3a9c0b")
run.metrics["validation"]["ev_total"]
run.features                # one line a feature
run.encode(x)               # feature activations [n, d_sae] of rows x [n, d_in]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sae.workspace.opened import OpenedRun

__version__ = "0.1.0"


def open(run: str, workspace: str | Path | None = None) -> OpenedRun:
    """A trained SAE with its tables, by run id (or the beginning of one).

    Raises:
        sae.common.errors.UserError: if there is no such run.
    """
    from sae.workspace.folder import Workspace
    from sae.workspace.opened import OpenedRun

    there = Workspace.at(workspace)
    return OpenedRun(there, there.run(run))
