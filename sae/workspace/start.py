"""What the app and the command line call to start work: check first, register, queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import check_name
from sae.workspace.access import require_change
from sae.workspace.processes import count_of, with_processes, without

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace
    from sae.workspace.jobs import Job


def start_experiment(
    workspace: Workspace, spec: dict[str, Any], *, device: str = "auto", priority: int = 0, processes: int = 1
) -> Job:
    """Register the experiment and queue it; finished runs of the same experiment are not trained again.

    Args:
        processes: that share each batch (`sae.workspace.processes`).
        priority: as `Jobs.enqueue` takes it.

    Raises:
        UserError: for whatever is wrong with the specification, before anything is written.
    """
    from sae.experiments.plan import Spec
    from sae.workspace.register import planned, register

    require_change("starting an experiment")
    wanted = Spec(**spec)
    check_name(wanted.name, "experiment name")
    spec = with_processes(workspace, spec, processes)
    register(workspace, planned(workspace, wanted))
    return workspace.jobs.enqueue("experiment", wanted.name, spec, device=checked_device(device), priority=priority)


def start_measurement(workspace: Workspace, spec: dict[str, Any], *, device: str = "auto", priority: int = 0) -> Job:
    """Register a measurement of another experiment's runs and queue it; runs that were measured are not again.

    Args:
        spec: `sae.experiments.measurement.MeasurementSpec` as a dict.
        priority: as `Jobs.enqueue` takes it.

    Raises:
        UserError: for whatever is wrong with the specification, before anything is written.
    """
    from sae.experiments.measurement import MeasurementSpec
    from sae.workspace.measurements import register_measurement

    require_change("starting a measurement")
    wanted = MeasurementSpec(**spec)
    check_name(wanted.name, "experiment name")
    experiment = register_measurement(workspace, wanted)
    return workspace.jobs.enqueue(
        "measurement", wanted.name, experiment.spec, device=checked_device(device), priority=priority
    )


def start_capture(workspace: Workspace, spec: dict[str, Any], *, device: str = "auto") -> Job:
    """Queue a capture; spec: see `sae.workspace.captures.checked`.

    Raises:
        UserError: for a bad name, list of layers or steps, or choice.
    """
    from sae.workspace.captures import checked

    spec = checked(spec)
    return workspace.jobs.enqueue("capture", spec["name"], spec, device=checked_device(device))


def start_demo(workspace: Workspace, *, device: str = "auto") -> Job:
    """Queue the demo; returns the job that is under way if there is one."""
    from sae.workspace.demo import NAME, spec

    return workspace.jobs.enqueue("demo", NAME, spec(), device=checked_device(device))


def start_again(workspace: Workspace, job: Job) -> Job:
    """Queue what a job was given once more, on the same device: finished parts are kept, the rest goes on.

    Raises:
        UserError: for whatever is wrong with the specification by now (its activations were deleted, say).
    """
    if job.kind == "experiment":
        return start_experiment(workspace, without(job.spec), device=job.device, processes=count_of(job.spec))
    if job.kind == "measurement":
        return start_measurement(workspace, job.spec, device=job.device)
    if job.kind == "capture":
        return start_capture(workspace, job.spec, device=job.device)
    return workspace.jobs.enqueue(job.kind, job.name, job.spec, device=job.device)


def request_maps(workspace: Workspace, name: str, runs: list[str]) -> Job:
    """Queue the UMAPs of some runs, behind whatever somebody waits for."""
    return workspace.jobs.enqueue("map", name, {"runs": runs}, priority=10)


def estimate_experiment(workspace: Workspace, spec: dict[str, Any], device: str = "auto") -> dict[str, Any]:
    """Cost of an experiment from a probe of about a second on the device, in a process of its own.

    Returns:
        `runs`, `seconds`, `memory_bytes`, `disk_bytes`, `device`, `device_name`, and `cells`: seconds by K and d_sae.

    Raises:
        UserError: for whatever is wrong with the specification.
    """
    return _probe("sae.workspace.probe", str(workspace.root), json.dumps(spec), device)


def estimate_capture(spec: dict[str, Any], device: str = "auto") -> dict[str, Any]:
    """Cost of a capture: the model is loaded and one batch read, in a process of its own.

    Args:
        spec: see `sae.workspace.captures.checked`.

    Returns:
        `examples`, `rows`, `bytes` (of the array), `tokens`, `skipped`, `seconds` (of reading, without answers; of
        thoughts with them), `d_in`, `layers` and `n_layers` (None for pooled vectors), `steps` (of thoughts, else
        None), `dtype`.

    Raises:
        UserError: for whatever is wrong with the specification.
    """
    return _probe("sae.workspace.capture_probe", json.dumps(spec), device)


def _probe(module: str, *arguments: str) -> dict[str, Any]:
    require_change("measuring the cost of work")
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["the probe ended without a word"]
        raise UserError(last[0].removeprefix("error: "))
    return json.loads(done.stdout)


def checked_device(name: str) -> str:
    """`auto` stays: it is for the supervisor to say; other names are checked as far as that goes without torch."""
    base = name.split(":")[0]
    if base not in ("auto", "cuda", "mps", "cpu"):
        raise UserError(f"device {name!r} is not known: take one of auto, cuda, mps, cpu")
    return "cuda:0" if name == "cuda" else name
