"""What a bundle's runs, experiments and activations must hold before any page reads them; each in one line else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import check_name, file_sha256, read_json
from sae.common.parquet import check_parquet
from sae.workspace.notes import Notes
from sae.workspace.runs import RunFolder

#: Columns of features.parquet that pages read without asking.
_COLUMNS = {
    "feature", "n_active", "density", "dead", "n_examples", "mean_activation", "max_activation", "mean_signed",
    "max_decoder_cosine", "nearest_feature",
}  # fmt: skip

#: Of a run: pairs of 131,072 features are the largest.
_LARGEST_TABLE = 2**30


def check_run(folder: Path) -> None:
    """A finished run: configuration, weights that fit it, codes and tables of its size, notes of its features.

    Raises:
        UserError: naming the run and what is wrong.
    """
    from sae import formats

    run = RunFolder(folder)
    try:
        config = _object(folder / "config.json", {"id": str, "kind": str, "factors": dict, "model": dict, "data": dict})
        _fields(config["data"], {"activations": str, "sha256": str, "start": int, "stop": int, "rows": dict}, "data")
        check_name(config["data"]["activations"], "activations name")
        if config["id"] != folder.name:
            raise UserError(f"it calls itself {config['id'][:80]!r}")
        formats.read(folder)
        for table in folder.glob("*.parquet"):
            check_parquet(table, _LARGEST_TABLE)
        d_sae, metrics = int(config["model"]["d_sae"]), _object(folder / "metrics.json", {"metrics": dict})
        if any(not isinstance(split, dict) for split in metrics["metrics"].values()) or "all" not in metrics["metrics"]:
            raise UserError("its metrics are not by split")
        for name, digest in metrics.get("sha256", {}).items():
            if name in ("weights.safetensors", "codes.safetensors") and file_sha256(folder / name) != digest:
                raise UserError(f"{name} is not the one that it was measured with")
        codes = run.codes()
        if codes.d_sae != d_sae or codes.n_rows != config["data"]["stop"] - config["data"]["start"]:
            raise UserError("its feature activations are not of its size")
        features = run.features()
        if lacking := _COLUMNS - set(features.columns):
            raise UserError(f"its feature table lacks {sorted(lacking)[0]!r}")
        if not np.array_equal(features["feature"].to_numpy(), np.arange(d_sae)):
            raise UserError("its feature table is not a line a feature")
        run.pairs(), run.history(), run.map()
        notes = Notes(folder, d_sae)
        numbers = [*notes.all(), *(feature for members in notes.lists().values() for feature in members)]
        if any(not 0 <= feature < d_sae for feature in numbers):
            raise UserError("its notes are about features that it has not")
    except (UserError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"run {folder.name} in the bundle can't be taken: {error}") from None


def check_experiment(folder: Path) -> None:
    """An experiment whose runs have names and factors. Raises UserError naming it and what is wrong."""
    try:
        types = {"name": str, "kind": str, "created": str, "spec": dict, "factors": dict, "runs": list}
        content = _object(folder / "experiment.json", types)
        if content["name"] != folder.name:
            raise UserError(f"it calls itself {content['name'][:80]!r}")
        if any(not isinstance(values, list) for values in content["factors"].values()):
            raise UserError("its factors have no lists of values")
        _fields(content["spec"], {"kind": str}, "spec")
        for listed in (*content["runs"], *content.get("measured", [])):
            _fields(listed, {"id": str, "factors": dict}, "a run of it")
            check_name(listed["id"], "run id")
        for name in (content.get("activations"), content["spec"].get("activations"), content["spec"].get("source")):
            if name is not None:
                check_name(name, "name in its specification")
        for part in folder.glob("parts/*/*.json"):
            read_json(part)
    except (UserError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"experiment {folder.name} in the bundle can't be taken: {error}") from None


def check_activations(folder: Path) -> None:
    """Rows and examples that fit their manifest, and the values if they came along. Raises UserError otherwise."""
    from sae.capture.store import Activations

    try:
        found = Activations.open(folder)
        if not isinstance(found.manifest.get("sha256"), str):
            raise UserError("its manifest has no SHA-256")
        owners = found.rows["example"].to_numpy()
        if not np.issubdtype(owners.dtype, np.integer) or owners.min() < 0 or owners.max() >= len(found.examples):
            raise UserError("its rows are of examples that it has not")
        if found.has_values and file_sha256(folder / "activations.npy") != found.manifest["sha256"]:
            raise UserError("its values are not those that its manifest names")
    except (UserError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"activations {folder.name} in the bundle can't be taken: {error}") from None


def _object(path: Path, types: Mapping[str, type]) -> dict[str, Any]:
    content = read_json(path)
    _fields(content, types, path.name)
    return content


def _fields(content: Any, types: Mapping[str, type], what: str) -> None:
    for name, kind in types.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise UserError(f"{what} has no {name}")
