"""The command and the Python that make a figure again, with the hashes and versions that it was made from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sae.workspace.register import DEFINITION

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

#: Factors that the command line has an option of their own for; the others are given by `--vary`.
_OPTIONS = {"preset": "--preset", "k": "--k", "d_sae": "--d-sae", "layer": "--layers", "position": "--positions"}


@dataclass(frozen=True)
class Reproduce:
    """What makes a panel again.

    Attributes:
        command, python: for a shell, and for a notebook.
        reads: SHA-256 by name of what both read.
        trained: what the run that is read was trained with (its `environment`); {} where it is not about one run.
    """

    command: str
    python: str
    reads: Mapping[str, str] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)

    @property
    def versions(self) -> str:
        """A line for what makes the figure now, and one for what the run was trained with, where that is known."""
        lines = [f"this app: {_versions(_here())}"]
        if self.trained:
            lines.append(f"the run was trained with: {_versions(self.trained)}")
        return "\n".join(lines)


@cache
def _here() -> dict[str, str]:
    from sae.capture.folder import versions

    return versions()


def _versions(found: Mapping[str, Any]) -> str:
    names = {name.replace("-", "_"): str(value) for name, value in found.items()}
    known = ("sae_workbench", "python", "torch", "numpy", "transformers", "device")
    return ", ".join(f"{name.replace('_', '-')} {names[name]}" for name in known if name in names)


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
    return Reproduce(f"python -m sae {command}", lines, hashes(run), run.config.get("environment") or {})


def hashes(run: RunFolder) -> dict[str, str]:
    """SHA-256 of what a finished run stands on and what it wrote, by name."""
    reads = {f"activations/{run.config['data']['activations']}/activations.npy": str(run.config["data"]["sha256"])}
    return reads | {f"runs/{run.id}/{name}": digest for name, digest in run.results.get("sha256", {}).items()}
