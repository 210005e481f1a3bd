"""Puts a checked bundle into a workspace: new things are added, both sides' words stand together."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from sae.common.files import file_sha256, read_json, write_json
from sae.workspace import bundles_check, bundles_notes
from sae.workspace.access import require_change
from sae.workspace.bundles_notes import Difference
from sae.workspace.bundles_read import Unpacked, unpacked
from sae.workspace.findings import Findings, read_finding
from sae.workspace.notes import Notes
from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace


@dataclass
class Opened:
    """What came of a bundle, or would: `added` and `here` name things as `runs/ID`, `experiments/NAME`, ...

    Attributes:
        renamed: ours by theirs, for experiments and activations whose names stand for something else here.
        refused: one line each for what was not taken.
        needs: activations whose values did not come along, as the manifest names them.
        view: the page that the bundle opens on, with names as they are here; None if it names none.
    """

    title: str
    view: str | None = None
    added: list[str] = field(default_factory=list)
    here: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    needs: list[dict[str, Any]] = field(default_factory=list)


def open_bundle(workspace: Workspace, path: Path, *, look: bool = False) -> Opened:
    """Check the bundle at `path` and put it into the workspace.

    Args:
        look: only say what would come of it.

    Raises:
        UserError: in one line for whatever is wrong with the bundle, and then nothing of it was taken; or for a viewer.
    """
    if not look:
        require_change("opening a bundle")
    with unpacked(path, workspace.root) as bundle:
        for run in bundle.names("runs"):
            bundles_check.check_run(bundle.folder / "runs" / run)
        for name in bundle.names("experiments"):
            bundles_check.check_experiment(bundle.folder / "experiments" / name)
        for name in bundle.names("activations"):
            bundles_check.check_activations(bundle.folder / "activations" / name)
        return _Merge(workspace, bundle, look).all()


class _Merge:
    def __init__(self, workspace: Workspace, bundle: Unpacked, look: bool) -> None:
        self.workspace, self.bundle, self.look = workspace, bundle, look
        self.found = Opened(bundle.title, needs=list(bundle.manifest["needs"]))
        self.experiments: dict[str, str] = {}
        self.activations: dict[str, str] = {}
        self.others: set[str] = set()

    def all(self) -> Opened:
        for name in self.bundle.names("activations"):
            self._activations(name)
        for name in self.bundle.names("experiments"):
            self.experiments[name] = self._experiment_name(name)
        for run in self.bundle.names("runs"):
            self._run(run)
        for name in self.bundle.names("experiments"):
            self._experiment(name)
        for file in sorted((self.bundle.folder / "findings").glob("*.json")):
            self._finding(file)
        for theirs, ours in {**self.activations, **self.experiments}.items():
            if theirs != ours:
                self.found.renamed[theirs] = ours
        self.found.view = self._view(self.bundle.manifest.get("view"))
        return self.found

    def _activations(self, name: str) -> None:
        """By their hash: the same under any name are the same."""
        theirs = self.bundle.folder / "activations" / name
        digest = read_json(theirs / "manifest.json")["sha256"]
        for manifest in self.workspace.activations():
            if manifest.get("sha256") == digest:
                self.activations[name] = manifest["name"]
                ours = self.workspace.activations_folder(manifest["name"])
                if (theirs / "activations.npy").exists() and not (ours / "activations.npy").exists():
                    self._do(partial(os.replace, theirs / "activations.npy", ours / "activations.npy"))
                    self.found.added.append(f"activations/{manifest['name']} (values)")
                else:
                    self.found.here.append(f"activations/{manifest['name']}")
                return
        target = self.workspace.activations_folder(name)
        if target.exists():
            target = self.workspace.activations_folder(f"{name[:70]}-{digest[:8]}")
        self.activations[name] = target.name
        self._put(theirs, target)

    def _run(self, run: str) -> None:
        theirs, ours = self.bundle.folder / "runs" / run, self.workspace.run_folder(run)
        if not (ours / "config.json").exists():
            config = read_json(theirs / "config.json")
            config["data"]["activations"] = self.activations.get(
                config["data"]["activations"], config["data"]["activations"]
            )
            if config.get("experiment"):
                known = self.experiments.get(config["experiment"])
                config["experiment"] = known
            write_json(theirs / "config.json", config)
            if Notes(theirs).path.exists():
                self.found.differences += bundles_notes.compare(run, Notes(ours), Notes(theirs), self.found.title)
            self._put(theirs, ours)
            return
        if not RunFolder(ours).done:
            self._refuse(run, f"run {run} is in training here: theirs was not taken")
            return
        if file_sha256(ours / "weights.safetensors") != file_sha256(theirs / "weights.safetensors"):
            self._refuse(
                run, f"run {run} is here with other weights: theirs was not taken, nor its notes and measurements"
            )
            return
        self.found.here.append(f"runs/{run}")
        differences = bundles_notes.compare(run, Notes(ours), Notes(theirs), self.found.title)
        self.found.differences += differences
        if differences:
            d_sae = int(RunFolder(ours).config["model"]["d_sae"])
            self._do(lambda: bundles_notes.join(ours, Notes(theirs), self.found.title, d_sae))

    def _refuse(self, run: str, why: str) -> None:
        """Ours of this id is another SAE: nothing that they say of theirs may stand beside it."""
        self.others.add(run)
        self.found.refused.append(why)

    def _experiment_name(self, name: str) -> str:
        """Its name here: its own, unless another experiment has that."""
        theirs = read_json(self.bundle.folder / "experiments" / name / "experiment.json")
        path = self.workspace.experiment_folder(name) / "experiment.json"
        if not path.exists() or _same(read_json(path), theirs):
            return name
        made = " ".join([theirs["kind"], theirs["created"]])
        return f"{name[:70]}-{hashlib.sha256(made.encode()).hexdigest()[:8]}"

    def _experiment(self, name: str) -> None:
        theirs, ours = self.bundle.folder / "experiments" / name, self.experiments[name]
        content = read_json(theirs / "experiment.json")
        spec = content["spec"]
        content["name"] = spec["name"] = ours
        for place in (content, spec):
            if place.get("activations"):
                place["activations"] = self.activations.get(place["activations"], place["activations"])
        if spec.get("source"):
            spec["source"] = self.experiments.get(spec["source"], spec["source"])
        for listed in ("runs", "measured"):
            if listed in content:
                content[listed] = [run for run in content[listed] if run["id"] not in self.others]
        for run in self.others:
            shutil.rmtree(theirs / "parts" / run, ignore_errors=True)
        if not content["runs"] and not content.get("measured"):
            self.found.refused.append(f"experiment {name} is about runs that were not taken alone: it was not taken")
            return
        write_json(theirs / "experiment.json", content)
        target = self.workspace.experiment_folder(ours)
        if not (target / "experiment.json").exists():
            self._put(theirs, target)
            return
        mine = read_json(target / "experiment.json")
        joined = _united(mine, content)
        parts = [part for part in _folders(theirs / "parts") if not (target / "parts" / part.name).exists()]
        if joined == mine and not parts:
            self.found.here.append(f"experiments/{ours}")
            return
        self.found.added.append(f"experiments/{ours} (more of it)")
        for part in parts:
            self._do(partial(_move, part, target / "parts" / part.name))
        self._do(lambda: write_json(target / "experiment.json", joined))

    def _finding(self, file: Path) -> None:
        theirs = read_finding(file)
        findings = Findings(self.workspace)
        path = findings.path(theirs.id)
        ours = read_finding(path) if path.exists() else None
        if ours == theirs:
            self.found.here.append(f"findings/{theirs.id}")
            return
        if ours is None:
            self.found.added.append(f"findings/{theirs.id}")
        else:
            other = ours.claim != theirs.claim
            outcome = "theirs stands beside ours" if other else "joined: evidence, objections and signatures of both"
            said = Difference("", f"finding {theirs.id}", None, ours.claim, theirs.claim, outcome)
            self.found.differences.append(said)
        self._do(lambda: findings.take(theirs))

    def _put(self, source: Path, target: Path) -> None:
        self.found.added.append(f"{target.parent.name}/{target.name}")
        self._do(lambda: _move(source, target))

    def _do(self, change: Callable[[], Any]) -> None:
        if not self.look:
            change()

    def _view(self, view: str | None) -> str | None:
        if view is None:
            return None
        page, mark, query = view.partition("?")
        if self.others & {value for _, value in parse_qsl(query)}:
            self.found.refused.append("what it opens on was seen in a run that was not taken: it is not opened here")
            return None
        names = {"experiment": self.experiments, "activations": self.activations}
        pairs = [(key, names.get(key, {}).get(value, value)) for key, value in parse_qsl(query, keep_blank_values=True)]
        return page + mark + urlencode(pairs)


def _same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether one came from the other: begun in the same second, of the same kind, on the same activations."""
    return all(ours.get(name) == theirs.get(name) for name in ("kind", "created", "activations_sha256"))


def _united(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """An experiment with the runs and factor values of both sides, ours first."""
    joined = dict(ours)
    for listed in ("runs", "measured"):
        if listed in theirs:
            have = {run["id"] for run in ours.get(listed, [])}
            joined[listed] = [*ours.get(listed, []), *(run for run in theirs[listed] if run["id"] not in have)]
    joined["factors"] = dict(ours["factors"])
    for name, values in theirs["factors"].items():
        mine = ours["factors"].get(name, [])
        joined["factors"][name] = [*mine, *(value for value in values if value not in mine)]
    return joined


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _move(source: Path, target: Path) -> None:
    """In one step: both stand on one disk. What a crash left of an earlier attempt goes first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    os.replace(source, target)
