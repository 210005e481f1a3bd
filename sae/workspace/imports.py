"""Takes in an SAE from elsewhere: read by `sae.formats`, measured on activations that are here, kept as a run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.capture.run_rows import rows_read
from sae.common.devices import choose
from sae.common.errors import UserError
from sae.common.files import check_name, file_sha256, read_json, write_json
from sae.common.parquet import check_parquet
from sae.workspace.access import require_change

if TYPE_CHECKING:
    from sae.capture.store import Slice
    from sae.experiments.execute import Result
    from sae.formats.loaded import Loaded
    from sae.workspace.folder import Workspace

LARGEST_HISTORY = 64 * 2**20
METRICS_AGREE = 1e-3  # how far a copied run's own explained variance may lie from what is measured here


def import_path(
    workspace: Workspace,
    path: str | Path,
    activations: str | None,
    *,
    layer: int | None = None,
    position: int | None = None,
    target_layer: int | None = None,
    target_position: int | None = None,
    k: int | None = None,
    name: str | None = None,
    device: str = "auto",
) -> str:
    """Read an SAE of any known format, measure it, and keep it as a run of kind `import`.

    A run folder of ours keeps its id, its factors and its training configuration. Where the activations that it was
    trained on are here (by hash, whatever their name), it is measured on those, must come out as it says, and keeps
    its metrics; otherwise it is measured on the activations given.

    Args:
        path: a SAELens, sparsify or dictionary_learning folder, a grid's `.pt`, a run folder, or the name of an SAE in
            SAELens' registry (`saelens:RELEASE/ID`).
        activations: what it is measured on; may be None for a run folder whose own activations are here.
        target_layer: of the slice that a transcoder reconstructs, of the same activations; its own layer by default.
        target_position: likewise; one of the two must be given for a transcoder that doesn't come as a run folder.
        k: K, for a file that doesn't say it.
        name: what to call it; the file's own name otherwise.

    Returns:
        The run's id. The same file measured on the same slice again gives the run that is there.

    Raises:
        UserError: in one line, for whatever is wrong; nothing is written then.
    """
    require_change("loading an SAE")
    from sae import formats
    from sae.experiments.data import Target
    from sae.experiments.execute import Data, measure
    from sae.formats import saelens_registry
    from sae.workspace.results import WorkspaceStore

    if saelens_registry.is_named(path):
        with tempfile.TemporaryDirectory(prefix="sae-lens-") as scratch:
            folder = saelens_registry.fetch(str(path), Path(scratch) / "sae")
            address = str(path).removeprefix(saelens_registry.PREFIX)
            name = name or address
            return import_path(
                workspace, folder, activations, layer=layer, position=position, k=k, name=name, device=device
            )
    path = Path(path)
    found = formats.read(path, k=k)
    label = _label(name or path.stem)
    config: dict[str, Any] | None = found.details.get("config")
    own = _own_slice(workspace, config) if config else None
    piece = own or _given_slice(workspace, activations, layer, position)
    if found.model.d_in != piece.x.shape[1]:
        raise UserError(
            f"{path.name} takes rows of {found.model.d_in:,} dimensions, activations {piece.activations.name!r} "
            f"have {piece.x.shape[1]:,}: give the activations of the model and layer that it was trained on"
        )
    written = _written(found, config, piece, target_layer, target_position)
    run = check_name(str(config.get("id", "")), "run id") if config else _run_id(found, piece, written, label)
    folder = workspace.run_folder(run)
    if (folder / "metrics.json").exists():
        if config and file_sha256(folder / "weights.safetensors") != found.files["weights.safetensors"]:
            raise UserError(f"run {run} is here already with other weights: delete it first, or keep what is here")
        return run

    data = Data(piece, choose(device))
    result = measure(found.model, data, target=Target(data, written) if written else None)
    kept = _own_metrics(path, result) if own else None
    history = _history(path) if config else None
    store = WorkspaceStore(workspace, "import", None, data.device)
    store.use(data)
    try:
        store.write_config(
            run,
            _factors(found, config),
            {"architecture": found.model.architecture, **found.model.hyperparameters()},
            config.get("training") if config else None,
            written,
            name=label,
            source=_source(found, config),
        )
        store.write_result(run, result._replace(history=history))
        if kept is not None:
            measured = read_json(folder / "metrics.json")
            write_json(folder / "metrics.json", {**measured, **kept})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return run


def _given_slice(workspace: Workspace, activations: str | None, layer: int | None, position: int | None) -> Slice:
    if not activations:
        raise UserError("say which activations it is measured on: its own are not in this workspace")
    return workspace.open_activations(activations).slice(layer, position)


def _own_slice(workspace: Workspace, config: dict[str, Any]) -> Slice | None:
    """The slice that a copied run was trained on, if activations of the same hash are here under any name."""
    data = config.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("sha256"), str):
        return None
    for manifest in workspace.activations():
        if manifest.get("sha256") == data["sha256"]:
            piece = rows_read(workspace.open_activations(manifest["name"]), data)
            return piece if (piece.start, piece.stop) == (data.get("start"), data.get("stop")) else None
    return None


def _written(
    found: Loaded, config: dict[str, Any] | None, piece: Slice, layer: int | None, position: int | None
) -> Slice | None:
    """The slice that a transcoder reconstructs; None for an SAE, which has no such slice."""
    if not found.model.transcodes:
        if layer is not None or position is not None:
            raise UserError(f"{found.path.name} is no transcoder: it reconstructs what it reads, leave out the target")
        return None
    own = config.get("data", {}).get("target") if config else None
    if layer is None and position is None and isinstance(own, dict):
        layer, position = own.get("layer"), own.get("position")
    if layer is None and position is None:
        raise UserError(
            f"{found.path.name} is a transcoder: say which slice it writes (--target-layer, --target-position)"
        )
    return piece.partner(piece.layer if layer is None else layer, piece.position if position is None else position)


def _run_id(found: Loaded, piece: Slice, written: Slice | None, label: str) -> str:
    """Readable, and the same only for the same file measured on the same slice."""
    hyperparameters = found.model.hyperparameters()
    content = [
        sorted(found.files.items()),
        hyperparameters,
        piece.activations.manifest["sha256"],
        piece.start,
        piece.stop,
        *([written.start, written.stop] if written else []),
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._").replace("..", ".") or found.format
    return check_name(f"import-{words[:56]}-{digest}", "run id")


def _label(text: str) -> str:
    """A name for people: printable, at most 80 characters."""
    label = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:80]
    if not label:
        raise UserError("an imported SAE needs a name with something in it")
    return label


def _factors(found: Loaded, config: dict[str, Any] | None) -> dict[str, Any]:
    if config and isinstance(config.get("factors"), dict):
        return {str(key): value for key, value in config["factors"].items() if isinstance(value, int | float | str)}
    hyperparameters = found.model.hyperparameters()
    return {name: hyperparameters[name] for name in ("d_sae", "k") if name in hyperparameters}


def _source(found: Loaded, config: dict[str, Any] | None) -> dict[str, Any]:
    """Where it came from: format, name of the file or folder, SHA-256 of each file, what it says of itself."""
    details = {name: value for name, value in found.details.items() if name != "config"}
    if config:
        data = config.get("data") if isinstance(config.get("data"), dict) else {}
        details = {"experiment": config.get("experiment"), "kind": config.get("kind"), "data": data}
    return {
        "format": found.format,
        "path": found.path.name,
        "sha256": found.files,
        "details": details,
        "changes": list(found.changes),
    }


def _own_metrics(path: Path, result: Result) -> dict[str, Any] | None:
    """metrics.json of a copied run, if it says what was measured. Raises UserError if it says something else."""
    from sae.formats.checks import has_file, read_object

    if not has_file(path, "metrics.json"):
        return None
    content = read_object(path / "metrics.json")
    try:
        told = {split: float(content["metrics"][split]["ev_total"]) for split in result.metrics}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"metrics.json in {path.name!r} has no ev_total of {', '.join(result.metrics)}") from None
    for split, value in told.items():
        measured = result.metrics[split]["ev_total"]
        if not abs(value - measured) <= METRICS_AGREE:
            raise UserError(
                f"metrics.json in {path.name!r} says ev_total {value:.4f} on {split}, but its weights give "
                f"{measured:.4f} on the same activations: the files do not belong together"
            )
    return {
        key: content[key]
        for key in ("metrics", "intervals", "baselines", "train_seconds", "seconds", "finished")
        if key in content
    }


def _history(path: Path) -> Any:
    """Learning curves of a copied run, None if there are none that can be read."""
    import pandas as pd

    file = path / "history.parquet"
    if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST_HISTORY:
        return None
    try:
        check_parquet(file)
        table = pd.read_parquet(file)
    except Exception:  # pyarrow raises whatever a malformed file makes it raise; curves are no condition
        return None
    return table if {"step", "loss"} <= set(table.columns) else None
