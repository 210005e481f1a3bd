"""The tables that the Thoughts page shows: runs by slice, problems that fit, what fires in each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sae.ui import grid_data, grid_views, loaded
from sae.ui.thought_words import is_thoughts
from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    from sae.capture.store import Activations
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

# What the maps show, and which way is better where one way is. Of the patched there are values where it was measured.
METRICS: dict[str, str | None] = {
    "ev_total": "high",
    "dead": "low",
    "accuracy_patched": "high",
    "mean_activation": None,
    "mse": "low",
    "max_activation": None,
    "ev_flat": "high",
    "accuracy_mean": None,
}
PATCHED = ("accuracy_patched", "accuracy_mean")


def thought_activations(workspace: Workspace) -> list[str]:
    """Names of activations that are steps of thinking, the newest first."""
    return [manifest["name"] for manifest in workspace.activations() if is_thoughts(manifest)]


def thought_experiments(workspace: Workspace) -> list[str]:
    """Experiments with runs of their own over such activations, or over layers and positions; the newest first."""
    here = set(thought_activations(workspace))
    found = []
    for experiment in workspace.experiments():
        if not experiment.content.get("runs"):
            continue
        if experiment.activations in here or {"layer", "position"} <= set(experiment.factors):
            found.append(experiment.name)
    return found


def runs_by_slice(experiment: ExperimentFolder, split: str) -> pd.DataFrame:
    """A line a run, finished or not: run, state, layer, position, the factors, the split's metrics, near_constant.

    `near_constant` is what the run found of its slice: its rows hardly differ from their mean. Where all runs are
    finished the table is kept until one changes.
    """
    finished = tuple(_finished(experiment, run) for run in experiment.run_ids())
    if all(finished):
        return _kept(str(experiment.folder), split, finished, experiment)
    return _runs_by_slice(experiment, split)


@st.cache_resource(max_entries=8, show_spinner="Reading the runs")
def _kept(folder: str, split: str, finished: tuple[int, ...], _experiment: ExperimentFolder) -> pd.DataFrame:
    return _runs_by_slice(_experiment, split)


def _finished(experiment: ExperimentFolder, run: str) -> int:
    """When a run was finished, 0 if it is not."""
    try:
        return (experiment.workspace.root / "runs" / run / "metrics.json").stat().st_mtime_ns
    except OSError:
        return 0


def _runs_by_slice(experiment: ExperimentFolder, split: str) -> pd.DataFrame:
    table = grid_data.runs_with_metrics(experiment, split)
    there = {run.id: run for run in experiment.runs()}
    spec = experiment.spec
    for name in ("layer", "position"):
        if name not in table:  # one slice for all runs
            table[name] = spec.get(name)
    table["near_constant"] = [near_constant(there.get(run)) for run in table["run"]]
    return table.dropna(subset=["layer", "position"]).astype({"layer": int, "position": int})


def one_configuration(experiment: ExperimentFolder, choices: Mapping[str, Any]) -> bool:
    """Whether the choices leave one configuration, of which there may be several seeds."""
    several = [name for name, values in experiment.factors.items() if len(values) > 1]
    return all(choices.get(name) is not None for name in several if name not in ("seed", "layer", "position"))


def mean_text(experiment: ExperimentFolder, choices: Mapping[str, Any]) -> str:
    """What a cell is the mean of, as a paragraph; empty where it is one run."""
    names = {"k": "K", "d_sae": "dictionary sizes", "seed": "seeds"}
    free = [
        names.get(name, name.replace("_", " ")) for name, values in experiment.factors.items()
        if len(values) > 1 and choices.get(name) is None and name not in ("layer", "position")
    ]  # fmt: skip
    return f"\n\nA cell holds the mean over {' and '.join(free)}." if free else ""


def listed(experiment: ExperimentFolder, table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The numbers of a map as a table: a line a run, with its slice, its factors and the metric."""
    known = [name for name in ("run", "state", *experiment.factors) if name in table]
    places = [name for name in ("layer", "position") if name not in known]
    bounds = [name for name in (f"{metric}_low", f"{metric}_high", "accuracy_clean", "problems") if name in table]
    numbers = [metric, *(bounds if metric in PATCHED else [])]
    return table.assign(**({} if metric in table else {metric: np.nan}))[[*places, *known, *numbers, "near_constant"]]


def rows_of(experiment: ExperimentFolder) -> dict[str, int]:
    """Rows by split of the first finished run; {} before it."""
    for listed in experiment.run_ids():
        run = RunFolder(experiment.workspace.root / "runs" / listed)
        if run.done:
            return dict(run.config["data"]["rows"])
    return {}


def hashes(experiment: ExperimentFolder) -> dict[str, str]:
    """SHA-256 of the activations and of the weights of every finished run, by name; read once."""
    finished = tuple(_finished(experiment, run) for run in experiment.run_ids())
    return _hashes(str(experiment.folder), finished, experiment)


@st.cache_resource(max_entries=8, show_spinner=False)
def _hashes(folder: str, finished: tuple[int, ...], _experiment: ExperimentFolder) -> dict[str, str]:
    return grid_views.hashes(_experiment)


def near_constant(run: RunFolder | None) -> bool:
    """Whether a finished run found that the rows of its slice hardly differ from their mean."""
    return bool(run is not None and run.done and run.results.get("slice", {}).get("near_constant", False))


def constant_places(table: pd.DataFrame) -> set[tuple[int, int]]:
    """(layer, step) of the slices that hardly vary."""
    odd = table[table["near_constant"]]
    return set(zip(odd["layer"].tolist(), odd["position"].tolist(), strict=True))


def best_slice(table: pd.DataFrame, metric: str) -> tuple[int, int, float] | None:
    """Layer, step and mean value of the slice that does best on a metric; near-constant slices can't."""
    way = METRICS.get(metric)
    if way is None or metric not in table:
        return None
    means = table[~table["near_constant"]].groupby(["layer", "position"])[metric].mean().dropna()
    if means.empty:
        return None
    layer, step = means.idxmax() if way == "high" else means.idxmin()
    return int(layer), int(step), float(means.loc[(layer, step)])


def runs_at(table: pd.DataFrame, layer: int, choices: Mapping[str, Any]) -> dict[int, str]:
    """By step the finished run of one configuration at a layer (its first seed)."""
    lines = grid_data.matching(table[table["layer"] == layer], choices)
    done = lines[lines["state"] == "done"]
    return dict(reversed([(int(step), str(run)) for step, run in zip(done["position"], done["run"], strict=True)]))


def fitting(examples: pd.DataFrame, wanted: np.ndarray, text: str = "") -> np.ndarray:
    """Numbers of the problems that are wanted (bool [n]) and whose question holds every word of `text`."""
    kept = np.asarray(wanted, bool).copy()
    if text.strip() and "question" in examples:
        questions = examples["question"].astype(str).str.lower()
        for word in text.lower().split():
            kept &= questions.str.contains(word, regex=False).to_numpy(bool)
    return np.flatnonzero(kept)


def firing(run: RunFolder, example: int) -> list[tuple[int, float]]:
    """The features that fire on an example's row in the slice of a run, the strongest first; [] if it has none."""
    rows = loaded.rows_of_example(run, example)
    if not len(rows):
        return []
    features, values = loaded.codes(run).row(int(rows[0]))
    return strongest_first(features, values)


def strongest_first(features: np.ndarray, values: np.ndarray) -> list[tuple[int, float]]:
    """Features with their strengths by falling size."""
    order = np.argsort(-np.abs(values), kind="stable")
    return [(int(features[place]), float(values[place])) for place in order]


def split_of(activations: Activations) -> np.ndarray:
    """[n_examples]: the split of each example; "" for one without a row."""
    return _splits(str(activations.folder), str(activations.manifest["sha256"]), activations)


@st.cache_resource(max_entries=4, show_spinner=False)
def _splits(folder: str, sha256: str, _activations: Activations) -> np.ndarray:
    rows = _activations.rows.drop_duplicates("example")
    found = np.full(_activations.n_examples, "", object)
    found[rows["example"].to_numpy()] = rows["split"].to_numpy()
    return found
