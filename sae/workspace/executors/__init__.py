"""Where a job's work is done: on this machine, on a Ray cluster or under SLURM. Neither package is imported here."""

from __future__ import annotations

from sae.workspace.executors.configuration import Executor, configured

__all__ = ["Executor", "configured"]
