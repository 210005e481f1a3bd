"""Which executor a workspace uses: `executor.json` in it, overruled by `$SAE_EXECUTOR`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sae.common.errors import UserError
from sae.common.files import read_json, write_json

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace

FILE = "executor.json"
VARIABLE = "SAE_EXECUTOR"
INSTALL = "pip install -r requirements-cluster.txt -c constraints.txt"
#: s that a cancelled job has to write its checkpoints: on this machine, and where its tasks must be told first.
GRACE, REMOTE_GRACE = 0.6, 20.0


class Setting(NamedTuple):
    """One setting of an executor: what it is when it isn't said, what it may be (in words), and whether a value is."""

    default: Any
    words: str
    fits: Callable[[Any], bool]


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _gpus(value: Any) -> bool:
    # Ray shares one GPU between tasks, or gives a task several whole ones.
    return _number(value) and value >= 0 and (value <= 1 or value == int(value))


_CAPTURE = Setting(4, "a whole number from 1 on", lambda v: _whole(v, 1))
_OPTIONAL = Setting(None, "a name, or null", lambda v: v is None or _text(v))

SETTINGS: dict[str, dict[str, Setting]] = {
    "local": {},
    "ray": {
        "address": Setting(
            "auto", "auto or HOST:PORT of a cluster's head", lambda v: _text(v) and not v.startswith("ray://")
        ),
        "num_cpus": Setting(1, "a whole number from 1 on", lambda v: _whole(v, 1)),
        "num_gpus": Setting(0, "a fraction from 0 to 1, or a whole number", _gpus),
        "capture_tasks": _CAPTURE,
    },
    "slurm": {
        "cluster": Setting("slurm", "slurm, or local to try it on this machine", lambda v: v in ("slurm", "local")),
        "partition": _OPTIONAL,
        "account": _OPTIONAL,
        "qos": _OPTIONAL,
        "minutes": Setting(240, "a whole number from 1 on", lambda v: _whole(v, 1)),
        "cpus": Setting(4, "a whole number from 1 on", lambda v: _whole(v, 1)),
        "gpus": Setting(0, "a whole number from 0 on", lambda v: _whole(v, 0)),
        "memory_gb": Setting(None, "a number above 0, or null", lambda v: v is None or (_number(v) and v > 0)),
        "at_once": Setting(64, "a whole number from 1 on", lambda v: _whole(v, 1)),
        "setup": Setting([], "a list of shell lines", lambda v: isinstance(v, list) and all(map(_text, v))),
        "options": Setting(
            {}, "a table of further sbatch options", lambda v: isinstance(v, dict) and all(map(_text, v))
        ),
        "capture_tasks": _CAPTURE,
    },
}
_PACKAGES = {"ray": "ray", "slurm": "submitit"}


@dataclass(frozen=True)
class Executor:
    """Who does the work.

    Attributes:
        name: `local`, `ray` or `slurm`.
        settings: those of `SETTINGS[name]`, complete.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def remote(self) -> bool:
        """Whether jobs are split into tasks that run elsewhere."""
        return self.name != "local"

    @property
    def grace(self) -> float:
        """Seconds that a cancelled job has to end by itself."""
        return REMOTE_GRACE if self.remote else GRACE

    @property
    def threads(self) -> int:
        """CPU threads of a task."""
        return self.settings["num_cpus" if self.name == "ray" else "cpus"]

    def check_installed(self) -> None:
        """Raises UserError, naming the command, if the package that this executor needs is not there."""
        package = _PACKAGES.get(self.name)
        if package and find_spec(package) is None:
            raise UserError(f"executor {self.name!r} needs the package {package!r}, which is not installed: {INSTALL}")

    def describe(self) -> str:
        """One line for people."""
        if self.name == "ray":
            cpus, gpus = self.settings["num_cpus"], self.settings["num_gpus"]
            return f"Ray cluster at {self.settings['address']}: {_amounts(cpus, gpus)} a task"
        if self.name == "slurm":
            where = "submitit on this machine" if self.settings["cluster"] == "local" else "SLURM"
            part = f", partition {self.settings['partition']}" if self.settings["partition"] else ""
            amounts = _amounts(self.settings["cpus"], self.settings["gpus"])
            return f"{where}{part}: {amounts} and at most {self.settings['minutes']} min a task"
        return "this machine"


def _amounts(cpus: int, gpus: float) -> str:
    return f"{cpus} CPU{'' if cpus == 1 else 's'}" + (f", {gpus:g} GPU{'s' if gpus > 1 else ''}" if gpus else "")


def configured(workspace: Workspace) -> Executor:
    """The executor of a workspace: `local` where nothing says otherwise.

    Raises:
        UserError: for an unknown name, or a setting that is unknown or can't be.
    """
    path = workspace.root / FILE
    content = _content(path)
    name, told_by = content.get("executor", "local"), str(path)
    if chosen := os.environ.get(VARIABLE):
        name, told_by = chosen, f"${VARIABLE}"
    return _executor(name, content.get(str(name), {}), told_by, str(path))


def configure(workspace: Workspace, name: str, changes: dict[str, Any]) -> Executor:
    """Choose an executor and change some of its settings; what else the file says stays.

    Raises:
        UserError: as `configured`, or if the package that it needs is missing; nothing is written then.
    """
    path = workspace.root / FILE
    content = _content(path)
    kept = content.get(name, {})
    executor = _executor(name, {**(kept if isinstance(kept, dict) else {}), **changes}, "the command", "the command")
    executor.check_installed()
    said = {key: value for key, value in executor.settings.items() if value != SETTINGS[name][key].default}
    rest = {key: value for key, value in content.items() if key not in ("executor", name)}
    write_json(path, {"executor": name, **rest, **({name: said} if said else {})})
    return executor


def parse_settings(items: Iterable[str]) -> dict[str, Any]:
    """`name=value` as the command line takes it; values are JSON, or else text.

    Raises:
        UserError: for an item without a name or `=`.
    """
    found: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UserError(f"--set {item!r}: write it as setting=value")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _content(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold a table such as {{"executor": "ray", "ray": {{"address": "auto"}}}}')
    if unknown := [key for key in content if key != "executor" and key not in SETTINGS]:
        raise UserError(f"{path}: {unknown[0]!r} is not known: there are executor, {', '.join(SETTINGS)}")
    return content


def _executor(name: Any, given: Any, told_by: str, where: str) -> Executor:
    if not isinstance(name, str) or name not in SETTINGS:
        raise UserError(f"{told_by}: executor {name!r} is not known: take one of {', '.join(SETTINGS)}")
    if not isinstance(given, dict):
        raise UserError(f"{where}: {name!r} must be a table of settings, not {given!r}")
    known = SETTINGS[name]
    for key, value in given.items():
        if key not in known:
            there = f"there are {', '.join(known)}" if known else "there are none"
            raise UserError(f"{where}: {key!r} is not a setting of executor {name!r}: {there}")
        if not known[key].fits(value):
            raise UserError(f"{where}: {name} {key} {value!r} can't be: give {known[key].words}")
    return Executor(name, {key: given.get(key, setting.default) for key, setting in known.items()})
