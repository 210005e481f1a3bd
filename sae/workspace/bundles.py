"""A bundle: a zip of runs, their experiments, the metadata and examples of their activations, notes and findings.

`manifest.json` in it names every other file with its size and SHA-256. `sae.workspace.bundles_read` checks a bundle,
`sae.workspace.bundles_merge` puts it into a workspace.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae import __version__
from sae.common.errors import UserError
from sae.common.files import read_json, replacing, to_json

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

FORMAT, VERSION = "sae-workbench-bundle", 1
LONGEST_VIEW = 4000
_BLOCK = 2**20
_VIEW = re.compile(r"[a-z]{1,20}(\?[\x21-\x7e]*)?")
_COUNTED = ("runs", "experiments", "findings")
_KEPT_ASIDE = ("checkpoint.safetensors", "error.json")
# Compressed by themselves, or numbers that hardly shrink.
_STORED = (".parquet", ".safetensors", ".npy")


@dataclass
class _Content:
    """What goes in: files of the disk by their path in the bundle, and texts that stand for one."""

    files: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    needs: list[dict[str, Any]] = field(default_factory=list)


def make_bundle(
    workspace: Workspace,
    names: str | Sequence[str],
    path: Path,
    *,
    view: str | None = None,
    values: bool = False,
) -> dict[str, Any]:
    """Write a bundle of experiments and runs to `path`, whole or not at all.

    An experiment comes with its finished runs, and with the measurements that were taken of them; a measurement with
    the experiment that it measures; a run alone with its own line of its experiment.

    Args:
        names: an experiment's name or a run's id each.
        view: the page and query string that it should open on, `run?run=ID&view=activity`.
        values: whether the activations' arrays come along; without them examples, labels and figures show, and only
            what computes on hidden states does not.

    Returns:
        The manifest.

    Raises:
        UserError: if there is nothing of a name, nothing of it is finished, or the view is no page's address.
    """
    if view is not None:
        check_view(view)
    names = [names] if isinstance(names, str) else list(names)
    return _write(_collected(workspace, names, values), path, title=", ".join(names), view=view)


def bundle_size(workspace: Workspace, names: Sequence[str], values: bool = False) -> dict[str, Any]:
    """What `make_bundle` would write: `runs`, `experiments`, `findings` (how many), `bytes` before packing, `needs`.

    Raises:
        UserError: as `make_bundle`.
    """
    content = _collected(workspace, names, values)
    paths = [*content.files, *content.texts]
    held = {kind: {path.split("/")[1] for path in paths if path.startswith(f"{kind}/")} for kind in _COUNTED}
    size = sum(file.stat().st_size for file in content.files.values()) + sum(map(len, content.texts.values()))
    return {**{kind: len(found) for kind, found in held.items()}, "bytes": size, "needs": content.needs}


def _collected(workspace: Workspace, names: Sequence[str], values: bool) -> _Content:
    content = _Content()
    experiments, runs = _chosen(workspace, names)
    if not runs:
        raise UserError(f"nothing of {', '.join(names)} is finished: there is nothing to bundle yet")
    for experiment in experiments.values():
        _add_experiment(content, experiment, set(runs))
    for run in runs.values():
        _add_run(content, run)
    activations = {run.config["data"]["activations"]: run.config["data"]["sha256"] for run in runs.values()}
    for name, digest in activations.items():
        _add_activations(content, workspace, name, digest, values)
    _add_findings(content, workspace, set(runs) | set(experiments))
    return content


def check_view(view: str) -> str:
    """`view` if it is a page's name with or without a query string. Raises UserError otherwise."""
    if len(view) > LONGEST_VIEW or not _VIEW.fullmatch(view):
        raise UserError(f"{view[:60]!r} is not a page of the app with its choices, such as run?run=ID&view=activity")
    return view


def _chosen(workspace: Workspace, names: Sequence[str]) -> tuple[dict[str, ExperimentFolder], dict[str, RunFolder]]:
    """The experiments, and all finished runs, that `names` stand for."""
    experiments: dict[str, ExperimentFolder] = {}
    runs: dict[str, RunFolder] = {}
    for name in names:
        if (workspace.experiment_folder(name) / "experiment.json").exists():
            experiment = workspace.experiment(name)
            source = workspace.experiment(experiment.source) if experiment.source else experiment
            measured = experiment.measured_runs()
            taken = [run for run in source.runs() if run.done and (not measured or run.id in measured)]
        else:
            run = workspace.run(name)
            taken = [run] if run.done else []
            named = run.config.get("experiment")
            source = workspace.experiment(named) if named and _exists(workspace, named) else None  # type: ignore[assignment]
            experiment = source
        runs |= {run.id: run for run in taken}
        for one in (source, experiment):
            if one is not None:
                experiments[one.name] = one
    for other in workspace.experiments():
        if other.source in experiments and set(other.measured_runs()) & set(runs):
            experiments[other.name] = other
    return experiments, runs


def _exists(workspace: Workspace, experiment: str) -> bool:
    return (workspace.experiment_folder(experiment) / "experiment.json").exists()


def _add_experiment(content: _Content, experiment: ExperimentFolder, runs: set[str]) -> None:
    """experiment.json with those of its runs that come along, and what was measured of them."""
    described = dict(experiment.content)
    for listed in ("runs", "measured"):
        if listed in described:
            described[listed] = [run for run in described[listed] if run["id"] in runs]
    where = f"experiments/{experiment.name}"
    content.texts[f"{where}/experiment.json"] = to_json(described) + "\n"
    for file in sorted(experiment.folder.rglob("*")):
        inside = file.relative_to(experiment.folder)
        if inside.parts[0] == "parts" and (len(inside.parts) < 2 or inside.parts[1] not in runs):
            continue
        if _wanted(file, inside) and str(inside) not in ("experiment.json", "results.parquet"):
            content.files[f"{where}/{inside.as_posix()}"] = file


def _add_run(content: _Content, run: RunFolder) -> None:
    for file in sorted(run.folder.rglob("*")):
        inside = file.relative_to(run.folder)
        if _wanted(file, inside):
            content.files[f"runs/{run.id}/{inside.as_posix()}"] = file


def _wanted(file: Path, inside: Path) -> bool:
    hidden = any(part.startswith(".") for part in inside.parts)
    return file.is_file() and not file.is_symlink() and not hidden and inside.name not in _KEPT_ASIDE


def _add_activations(content: _Content, workspace: Workspace, name: str, digest: str, values: bool) -> None:
    """What its rows and examples are; a need where the values, or all of it, don't come along."""
    folder = workspace.activations_folder(name)
    manifest = read_json(folder / "manifest.json") if (folder / "manifest.json").exists() else {}
    need = {"activations": name, "sha256": digest, "bytes": None}
    if manifest.get("sha256") != digest:  # gone, or others by now
        content.needs.append(need)
        return
    array = folder / "activations.npy"
    if values and not array.exists():
        raise UserError(f"activations {name!r} have no values here: they can't come along")
    if values:
        content.files[f"activations/{name}/activations.npy"] = array
    else:
        content.needs.append({**need, "bytes": array.stat().st_size if array.exists() else None})
        from sae.capture.store import LEFT_OUT

        manifest["values"] = LEFT_OUT
    content.texts[f"activations/{name}/manifest.json"] = to_json(manifest) + "\n"
    for table in ("rows.parquet", "examples.parquet"):
        content.files[f"activations/{name}/{table}"] = folder / table


def _add_findings(content: _Content, workspace: Workspace, about: set[str]) -> None:
    from sae.workspace.findings import Findings

    for finding in Findings(workspace).all():
        if about & finding.mentions():
            content.files[f"findings/{finding.id}.json"] = Findings(workspace).path(finding.id)


def _write(content: _Content, path: Path, *, title: str, view: str | None) -> dict[str, Any]:
    files = {name: _entry_of_text(text) for name, text in content.texts.items()}
    path = Path(path)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        for name, text in content.texts.items():
            archive.writestr(name, text, zipfile.ZIP_DEFLATED)
        for name, file in content.files.items():
            kind = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            files[name] = _put(archive, name, file, kind)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "title": title[:200],
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "made_by": f"sae-workbench {__version__}",
            "view": view,
            "needs": content.needs,
            "files": dict(sorted(files.items())),
        }
        archive.writestr("manifest.json", to_json(manifest) + "\n", zipfile.ZIP_DEFLATED)
    return manifest


def _put(archive: zipfile.ZipFile, name: str, file: Path, kind: int) -> dict[str, Any]:
    """Read once, so that what is written and what the manifest says of it are the same while others write notes."""
    info = zipfile.ZipInfo.from_file(file, name, strict_timestamps=False)  # images and bad clocks date files to 1970
    info.compress_type = kind
    size, digest = 0, hashlib.sha256()
    with open(file, "rb") as source, archive.open(info, "w") as target:
        while block := source.read(_BLOCK):
            size += len(block)
            digest.update(block)
            target.write(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _entry_of_text(text: str) -> dict[str, Any]:
    data = text.encode()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
