"""The folder of activations while it is made: beside its place, resumable, moved in when it is whole."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import file_sha256, replacing, write_json, write_parquet

from .store import FORMAT, Activations

if TYPE_CHECKING:
    import pandas as pd


class Workplace:
    """`.NAME.partial` beside `folder`, under a lock: one process at a time makes activations of a name.

    Raises:
        UserError: if another process is at it.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock, Timeout

        self.folder = folder
        self.partial = folder.with_name(f".{folder.name}.partial")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder.with_name(f".{folder.name}.lock"))
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"another process is making the activations {folder.name!r}: wait for it") from None
        except OSError as error:
            raise UserError(f"{folder.parent} can't be written ({error.strerror}): choose another workspace") from None

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, *error: object) -> None:
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def start_over(self) -> None:
        """An empty partial folder."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()

    def discard(self) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)

    def finish(self, manifest: dict[str, Any], drop: Sequence[str] = ()) -> Activations:
        """Write the manifest, check that the folder opens, and move it into its place."""
        for name in drop:
            (self.partial / name).unlink(missing_ok=True)
        common = {
            "format": FORMAT,
            "name": self.folder.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": file_sha256(self.partial / "activations.npy"),
            "versions": versions(),
        }
        write_json(self.partial / "manifest.json", {**common, **manifest})
        Activations.open(self.partial)
        try:
            os.rename(self.partial, self.folder)
        except OSError as error:
            raise UserError(f"{self.folder} can't be made ({error.strerror}): is something else there?") from None
        return Activations.open(self.folder)


def versions() -> dict[str, str]:
    """Python's, our own, and of the packages that decide what is in the array, as far as they are there."""
    from importlib.metadata import PackageNotFoundError, version

    from sae import __version__

    found = {"python": platform.python_version(), "sae-workbench": __version__}
    for package in ("torch", "transformers", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_rows(path: Path, columns: dict[str, np.ndarray], split: np.ndarray, layers: Sequence[int | None]) -> None:
    """rows.parquet: the columns of one layer [rows_per_layer], repeated for each layer; one row group a layer.

    Args:
        columns: must have `example`.
        split: of each example [n_examples].
        layers: `[None]` where layers mean nothing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = {
        "example": pa.array(columns["example"].astype(np.int32)),
        "split": pa.array(split[columns["example"]].astype(str), pa.string()),
    }
    rest = {name: pa.array(values) for name, values in columns.items() if name != "example"}
    n = len(columns["example"])

    def table(layer: int | None) -> pa.Table:
        here = {} if layer is None else {"layer": pa.array(np.full(n, layer, np.int16))}
        return pa.table({**base, **here, **rest})

    first = table(layers[0])
    with replacing(path) as temporary, pq.ParquetWriter(temporary, first.schema) as writer:
        writer.write_table(first)
        for layer in layers[1:]:
            writer.write_table(table(layer))


def write_examples(path: Path, examples: pd.DataFrame, split: np.ndarray) -> None:
    """examples.parquet: the examples with the split that each one got."""
    written = examples.reset_index(drop=True).copy()
    written["split"] = split.astype(str)
    write_parquet(path, written)
