"""A job over several processes: torchrun starts them, the first one does the job, the others follow it in training.

They share each batch of an SAE (`sae.training.data_parallel`). All of them run `sae.workspace.child` with the job's
folder; torchrun's variables say which one a process is. `SAE_TORCHRUN` holds flags of torchrun's own, for several
machines.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace

#: In a job's spec beside what it is about: it changes nothing of what is trained.
KEY = "processes"
MOST = 1024
FLAGS = "SAE_TORCHRUN"


def with_processes(workspace: Workspace, spec: dict[str, Any], count: int) -> dict[str, Any]:
    """A job's spec for `count` processes.

    Raises:
        UserError: for a count out of range, or where the workspace's jobs go to a cluster.
    """
    from sae.workspace.executors import configured

    if not 1 <= count <= MOST:
        raise UserError(f"--processes {count}: take 1 to {MOST:,}")
    if count == 1:
        return spec
    if configured(workspace).remote:
        raise UserError(
            f"--processes {count} needs the executor 'local': on a cluster, start torchrun yourself (docs/engine.md)"
        )
    return {**spec, KEY: count}


def count_of(spec: dict[str, Any]) -> int:
    """How many processes share each batch of a job."""
    return spec.get(KEY, 1)


def without(spec: dict[str, Any]) -> dict[str, Any]:
    """What the job is about."""
    return {name: value for name, value in spec.items() if name != KEY}


def command(spec: dict[str, Any]) -> list[str]:
    """What Python is started with for a job, before the job's folder."""
    child = ["-m", "sae.workspace.child"]
    if count_of(spec) == 1:
        return child
    flags = shlex.split(os.environ.get(FLAGS, "")) or ["--standalone"]
    return ["-m", "torch.distributed.run", *flags, "--nproc-per-node", str(count_of(spec)), *child]


def started() -> int:
    """How many processes torchrun started, this one among them; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def follows() -> bool:
    """Whether this process is one that follows another."""
    return started() > 1 and os.environ["RANK"] != "0"


@contextmanager
def shared(device: str) -> Iterator[str]:
    """While it lasts, training is shared by the processes that torchrun started; yields this one's device.

    Args:
        device: of this machine, as torch calls it.
    """
    if started() == 1:
        yield device
        return
    import torch

    from sae.training.data_parallel import joined, lead

    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    with joined(device) as own:
        yield own
        if not follows():
            lead(None)


def follow(workspace: Workspace, spec: dict[str, Any], device: str) -> None:
    """Train along with the first process what it trains of an experiment, and leave nothing.

    Raises:
        ProcessLost: if the first process is gone.
    """
    import torch

    from sae.experiments.execute import Data
    from sae.experiments.plan import Spec
    from sae.training.data_parallel import orders
    from sae.training.group import build
    from sae.training.loop import step_through
    from sae.training.training import Training
    from sae.workspace.register import planned

    plan = planned(workspace, Spec(**without(spec)))
    runs = {run.id: run for run in plan.runs}
    activations = workspace.open_activations(plan.spec.activations)
    data: Data | None = None
    place = None
    with shared(device) as own:
        for together in orders():
            first, chunk_rows = runs[together[0][0][0]], together[0][0][1]
            if data is None or place != first.place_key:
                data = None  # its rows need not stay while the next are read
                data, place = Data(rows_read(activations, first.place), own), first.place_key
            rows = data.rows(chunk_rows)
            groups = [[replace(runs[name].config, chunk_rows=decided) for name, decided in group] for group in together]
            # The start comes from the first process: what this one starts from does not matter.
            anything = torch.eye(rows.d_in)
            step_through([Training(build(group, rows, anything), rows.n) for group in groups], rows)
