"""The command and the Python that make a figure again, with the hashes of what it was made from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sae.workspace.register import DEFINITION

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

#: Factors that the command line has an option of their own for; the others are given by `--vary`.
_OPTIONS = {"preset": "--preset", "k": "--k", "d_sae": "--d-sae", "layer": "--layers", "position": "--positions"}


@dataclass(frozen=True)
class Reproduce:
    """`command` for a shell, `python` for a notebook, and `reads`: SHA-256 by name of what both read."""

    command: str
    python: str
    reads: Mapping[str, str] = field(default_factory=dict)


def experiment_command(spec: Mapping[str, Any]) -> str:
    """The command line that trains the experiment of this specification (`experiment.json`, key `spec`)."""
    factors: Mapping[str, Sequence[Any]] = spec.get("factors", {})
    # What a definition says of itself stands beside experiment.json.
    kind = f"experiments/{spec['name']}/{DEFINITION}" if spec.get("definition") else str(spec["kind"])
    words: list[str] = [kind, "--activations", str(spec["activations"]), "--name", str(spec["name"])]
    for name in ("layer", "position"):
        if spec.get(name) is not None:
            words += [f"--{name}", str(spec[name])]
    if spec.get("preset"):
        words += ["--preset", str(spec["preset"])]
    for name, values in factors.items():
        if name == "seed":
            words += ["--seeds", str(len(values))]
        elif name in _OPTIONS:
            words += [_OPTIONS[name], ",".join(map(str, values))]
        else:
            words += ["--vary", f"{name}={','.join(map(str, values))}"]
    for name, value in spec.get("settings", {}).items():
        words += ["--set", f"{name}={value}"]
    return "python -m sae experiment run " + " ".join(shlex.quote(word) for word in words)


def measurement_command(spec: Mapping[str, Any]) -> str:
    """The command line that takes the measurement of this specification (`experiment.json`, key `spec`)."""
    words: list[str] = [str(spec["kind"]), "--from", str(spec["source"]), "--name", str(spec["name"])]
    words += ["--runs", ",".join(spec["runs"])] if spec.get("runs") else []
    for name, value in spec["settings"].items():
        words += ["--set", f"{name}={value}"]
    return "python -m sae experiment run " + shlex.join(words)


def of_run(run: RunFolder, command: str, python: str) -> Reproduce:
    """For a figure of one run: `command` after `python -m sae`, and `python` below the lines that open the run."""
    lines = f'import sae\n\nrun = sae.open("{run.id}")\n{python}'
    return Reproduce(f"python -m sae {command}", lines, hashes(run))


def hashes(run: RunFolder) -> dict[str, str]:
    """SHA-256 of what a finished run stands on and what it wrote, by name."""
    reads = {f"activations/{run.config['data']['activations']}/activations.npy": str(run.config["data"]["sha256"])}
    return reads | {f"runs/{run.id}/{name}": digest for name, digest in run.results.get("sha256", {}).items()}
