"""A run's tables and feature activations, opened once and shared by all visitors.

Keyed by the run's folder and the time of the file, so that a run trained again is read again. What is handed out is
shared: take columns and views of it, and never write to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError
from sae.ui import role
from sae.ui.page import workspace

if TYPE_CHECKING:
    import pandas as pd

    from sae.analysis.codes import FeatureActivations
    from sae.analysis.specificity import Specificity
    from sae.capture.store import Slice
    from sae.workspace.runs import RunFolder


def codes(run: RunFolder) -> FeatureActivations:
    """The run's feature activations. Raises UserError if it is not finished or they are gone."""
    return _codes(str(run.folder), modified(run, "codes.safetensors"))


def features(run: RunFolder) -> pd.DataFrame:
    """The run's feature table, a line a feature in the order of their numbers."""
    return _table(str(run.folder), "features", modified(run, "features.parquet"))


def pairs(run: RunFolder) -> pd.DataFrame:
    """The run's most correlated pairs."""
    return _table(str(run.folder), "pairs", modified(run, "pairs.parquet"))


def weights(run: RunFolder) -> dict[str, np.ndarray]:
    """The run's weights by name."""
    return _weights(str(run.folder), modified(run, "weights.safetensors"))


def directions(run: RunFolder) -> np.ndarray:
    """Its decoder rows as they can be compared."""
    from sae.analysis import layer_norms

    return layer_norms.directions(weights(run))


@dataclass(frozen=True)
class Place:
    """Where a feature lies on the map, how the map was made, and when the file was written that it was made from."""

    table: pd.DataFrame
    title: str
    method: str
    final: bool
    modified: int


def feature_map(run: RunFolder) -> Place:
    """The run's UMAP; until that is made, two principal axes of the living decoder rows, worked out here."""
    if (run.folder / "map.parquet").exists():
        return _map(str(run.folder), modified(run, "map.parquet"))
    return _principal(str(run.folder), modified(run, "weights.safetensors"))


def slice_of(run: RunFolder) -> Slice:
    """The rows that the run was trained on and its feature activations stand on.

    Raises:
        UserError: if the activations are gone, or are others than those the run was trained on.
    """
    data = run.config["data"]
    # The key is by words of its own: Streamlit takes a millisecond to hash a dictionary, and a page asks often.
    found = _slice(str(workspace().root), json.dumps(data, sort_keys=True), data)
    n_rows = codes(run).n_rows
    if found.stop - found.start != n_rows:
        raise UserError(
            f"run {run.id} has feature activations of {n_rows:,} rows and {found.title} of {data['activations']!r} has "
            f"{found.stop - found.start:,}: the activations have changed since"
        )
    return found


def examples_by_row(run: RunFolder) -> np.ndarray:
    """int32 [n_rows]: the example of each row of the slice."""
    return _columns(run)[0]


def splits_by_row(run: RunFolder) -> np.ndarray:
    """[n_rows]: the split of each row of the slice."""
    return _columns(run)[1]


def rows_of_example(run: RunFolder, example: int) -> np.ndarray:
    """The rows of one example in the slice, ascending; found through an index that is built once."""
    data = run.config["data"]
    key = (str(workspace().root), data["activations"], data["sha256"], data["start"])
    order, starts = _index(*key, slice_of(run))
    if not 0 <= example < len(starts) - 1:
        return np.empty(0, np.int64)
    return order[starts[example] : starts[example + 1]]


@st.cache_resource(max_entries=64, show_spinner=False)
def _index(root: str, activations: str, sha256: str, start: int, _slice: Slice) -> tuple[np.ndarray, np.ndarray]:
    owner = _slice.rows["example"].to_numpy()
    counts = np.bincount(owner) if len(owner) else np.zeros(0, np.int64)
    return np.argsort(owner, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def label_table(run: RunFolder) -> pd.DataFrame:
    """The columns of the examples that are labels: those with 2 to 12 different values, a line an example."""
    data = run.config["data"]
    return _labels(str(workspace().root), data["activations"], data["sha256"], slice_of(run))


@st.cache_resource(max_entries=8, show_spinner=False)
def _labels(root: str, activations: str, sha256: str, _slice: Slice) -> pd.DataFrame:
    from sae.report.examples import label_columns

    examples = _slice.activations.examples
    kept = []
    for name in label_columns(examples):
        column = examples[name].dropna()
        items = column.explode() if column.map(lambda cell: isinstance(cell, list | np.ndarray)).any() else column
        if 2 <= items.astype(str).nunique() <= 12:
            kept.append(name)
    return examples[kept].reset_index(drop=True)


def specificity(run: RunFolder) -> Specificity:
    """Which label each feature goes with. Raises UserError if its activations or labels can't be used."""
    slice_of(run)  # where it is there, the activations are too
    return _specificity(str(workspace().root), run.id, modified(run, "codes.safetensors"))


@st.cache_resource(max_entries=32, show_spinner="Comparing features with labels")
def _specificity(root: str, run: str, modified: int) -> Specificity:
    from sae.workspace import Workspace
    from sae.workspace.specificity import specificity_of

    opened = Workspace(Path(root))
    return specificity_of(opened, opened.run(run), keep=role.may_change())


def top_texts(run: RunFolder, n: int = 3, length: int = 160) -> list[tuple[str, ...]]:
    """For each feature the beginnings of the questions of its `n` strongest examples; () where there is no text."""
    return _top_texts(str(run.folder), modified(run, "codes.safetensors"), n, length)


def modified(run: RunFolder, name: str) -> int:
    """When a file of the run was written, in ns. Raises UserError if it is not there."""
    try:
        return (run.folder / name).stat().st_mtime_ns
    except FileNotFoundError:
        raise UserError(f"run {run.id} has no {name}: it is not finished, or the file is gone") from None


def _folder(folder: str) -> RunFolder:
    from sae.workspace.runs import RunFolder

    return RunFolder(Path(folder))


@st.cache_resource(max_entries=64, show_spinner="Opening feature activations")
def _codes(folder: str, modified: int) -> FeatureActivations:
    return _folder(folder).codes()


@st.cache_resource(max_entries=64, show_spinner=False)
def _table(folder: str, name: str, modified: int) -> pd.DataFrame:
    run = _folder(folder)
    return run.features() if name == "features" else run.pairs()


@st.cache_resource(max_entries=8, show_spinner=False)
def _weights(folder: str, modified: int) -> dict[str, np.ndarray]:
    return _folder(folder).weights()


@st.cache_resource(max_entries=64, show_spinner=False)
def _map(folder: str, modified: int) -> Place:
    from sae.common.files import read_json

    run = _folder(folder)
    table = run.map()
    assert table is not None
    path = run.folder / "map.json"
    made = read_json(path) if path.exists() else {}
    if made.get("method") == "pca":
        return Place(table, "PCA of decoder rows", f"first two principal axes ({made.get('why')})", True, modified)
    known = ", ".join(f"{name} {made[name]}" for name in ("metric", "n_neighbors", "min_dist", "seed") if name in made)
    return Place(table, "UMAP of decoder rows", f"UMAP ({known})", True, modified)


@st.cache_resource(max_entries=64, show_spinner=False)
def _principal(folder: str, modified: int) -> Place:
    from sae.analysis.maps import decoder_map

    run = _folder(folder)
    alive = ~features(run)["dead"].to_numpy(bool)
    table, _ = decoder_map(directions(run), alive, method="pca")
    return Place(table, "PCA of decoder rows", "first two principal axes, until the UMAP is made", False, modified)


@st.cache_resource(max_entries=64, show_spinner=False)
def _slice(root: str, key: str, _data: dict[str, Any]) -> Slice:
    from sae.workspace import Workspace

    opened = Workspace(Path(root)).open_activations(_data["activations"])
    if opened.manifest["sha256"] != _data["sha256"]:
        raise UserError(
            f"activations {_data['activations']!r} are not those that this run was trained on: examples can't be shown "
            "for it"
        )
    return rows_read(opened, _data)


def _columns(run: RunFolder) -> tuple[np.ndarray, np.ndarray]:
    data = run.config["data"]
    return _columns_of(str(workspace().root), data["activations"], data["sha256"], data["start"], slice_of(run))


@st.cache_resource(max_entries=64, show_spinner=False)
def _columns_of(root: str, activations: str, sha256: str, start: int, _slice: Slice) -> tuple[np.ndarray, np.ndarray]:
    rows = _slice.rows
    return rows["example"].to_numpy(), rows["split"].to_numpy()


@st.cache_resource(max_entries=32, show_spinner="Reading the strongest examples")
def _top_texts(folder: str, modified: int, n: int, length: int) -> list[tuple[str, ...]]:
    from sae.analysis.top_rows import top_rows

    run = _folder(folder)
    found = codes(run)
    piece = slice_of(run)
    examples = piece.activations.examples
    if "question" not in examples:
        return [()] * found.d_sae
    questions = examples["question"].astype(str).str.slice(0, length).str.replace(r"\s+", " ", regex=True).to_numpy()
    owner = piece.rows["example"].to_numpy()
    rows = top_rows(found, n, owner)
    return [tuple(questions[owner[row]] for row in line if row >= 0) for line in rows]
