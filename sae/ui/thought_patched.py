"""What patching found of an experiment's SAEs, slice by slice: for the maps of the Thoughts page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from sae.ui.thought_data import PATCHED
from sae.ui.words import plain, share

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

KIND = "patching"
Place = tuple[int, int]
_REPLACED = {
    "accuracy_patched": ("the SAE's reconstruction", "the share not patched and that with the training mean"),
    "accuracy_mean": ("the mean of the train rows", "the share not patched and that with the SAE's reconstruction"),
}
_FORMULA = (
    "The state at one layer and step is replaced by {}, the model thinks on from there and answers; a share of "
    "right answers. Intervals are a bootstrap over problems. The colours run from the lowest to the highest share of "
    "right answers with the reconstruction, with the training mean and not patched, so that a loss is judged against "
    "what is there to lose. Where the training mean costs nothing either, the state is hardly read at this place, and "
    "patching can't tell a good reconstruction from a poor one."
)


@dataclass(frozen=True)
class Facts:
    """What a map of patched answers needs beside its numbers."""

    meaning: str
    formula: str
    n: str
    notes: dict[Place, str]
    color_range: tuple[float, float]


def measurements(workspace: Workspace, experiment: str) -> list[ExperimentFolder]:
    """The patchings of an experiment's runs, the oldest first."""
    found = [one for one in workspace.experiments() if one.kind == KIND and one.source == experiment]
    return sorted(found, key=lambda one: one.created)


def joined(table: pd.DataFrame, found: list[ExperimentFolder]) -> pd.DataFrame:
    """`table` (a line a run) with what was found of each run by the newest of `found`; as it is if nothing was.

    Adds `accuracy_clean`, `accuracy_patched`, `accuracy_mean` (the mean of the train rows in the state's place),
    bounds (`accuracy_patched_low`, `accuracy_patched_high`; `mean_loss_high`: the least that the mean costs),
    `problems`, `problem_split`, `is_read` (whether anything in the model reads this state).
    """
    parts = [(one, run) for one in found for run in one.measured_runs()]
    times = tuple(_time(one, run) for one, run in parts)
    if not any(times):
        return table
    return table.merge(_found(tuple(str(one.folder) for one in found), times, parts), on="run", how="left")


def begun(found: list[ExperimentFolder]) -> bool:
    """Whether anything of any run was found."""
    return any(_time(one, run) for one in found for run in one.measured_runs())


def _time(experiment: ExperimentFolder, run: str) -> int:
    try:
        return (experiment.part_folder(run) / "results.json").stat().st_mtime_ns
    except OSError:
        return 0


@st.cache_resource(max_entries=8, show_spinner="Reading what patching found")
def _found(
    folders: tuple[str, ...], times: tuple[int, ...], _parts: list[tuple[ExperimentFolder, str]]
) -> pd.DataFrame:
    lines: dict[str, dict[str, Any]] = {}
    for experiment, run in _parts:
        for found in experiment.part_results(run) or []:
            metrics, intervals = found["metrics"], found["interval"]
            low, high = intervals["accuracy_patched"]
            lines[run] = {
                "run": run,
                **{name: metrics[name] for name in ("accuracy_clean", *PATCHED)},
                "accuracy_patched_low": low,
                "accuracy_patched_high": high,
                "mean_loss_high": intervals["accuracy_change_mean"][1],
                "problems": found["n"],
                "problem_split": found["split"],
                "is_read": experiment.part_notes(run).get("is_read", True),
            }
    return pd.DataFrame(list(lines.values()))


def facts(table: pd.DataFrame, metric: str) -> Facts:
    """Of a table of `joined`, for a map of one metric of `PATCHED`."""
    known = table[table["accuracy_clean"].notna()]
    here, beside = _REPLACED[metric]
    notes: dict[Place, str] = {}
    for (layer, step), lines in known.groupby(["layer", "position"]):
        said = [f"{share(lines['accuracy_clean'].mean())} not patched"]
        if metric == "accuracy_patched":
            said.append(f"{share(lines['accuracy_mean'].mean())} with the training mean instead")
            if len(lines) == 1:
                low, high = lines["accuracy_patched_low"].iloc[0], lines["accuracy_patched_high"].iloc[0]
                said.insert(0, f"95 % interval {share(low)} to {share(high)}")
        if not lines["is_read"].all():
            said.append("read by nothing: no patch changes an answer")
        notes[int(layer), int(step)] = "<br>".join(said)
    shares = known[["accuracy_clean", *PATCHED]].to_numpy(float)
    span = (float(shares.min()), float(shares.max())) if len(known) else (0.0, 1.0)
    counts, split = sorted(set(known["problems"].astype(int))), "/".join(sorted(set(known["problem_split"])))
    n = " to ".join(f"{count:,}" for count in {counts[0]: 0, counts[-1]: 0}) if counts else "no"
    meaning = f"Share of right answers with {here} in the state's place, on one scale with {beside}."
    return Facts(meaning, _FORMULA.format(here), f"{n} {split} problems a slice", notes, span)


def said(table: pd.DataFrame, place: Callable[[int, int], str]) -> list[str]:
    """What the patched maps say in words (Markdown of our own), from a table of `joined`.

    Args:
        place: names a layer and a step.
    """
    known = table[table["accuracy_patched"].notna() & ~table["near_constant"]]
    if known.empty:
        return ["No run of this configuration is patched yet."]
    clean = share(known["accuracy_clean"].mean())
    slices = known.groupby(["layer", "position"])
    means = slices["accuracy_patched"].mean()
    layer, step = means.idxmin()
    lowest = f"{share(means.min())} at the least, at {plain(place(int(layer), int(step)))}"
    if (slices.size() == 1).all():
        line = known[(known["layer"] == layer) & (known["position"] == step)].iloc[0]
        lowest += f" (95 % interval {share(line['accuracy_patched_low'])} to {share(line['accuracy_patched_high'])})"
    lines = [f"**Not patched: {clean} right.** With the reconstruction {lowest}."]
    costs = slices["mean_loss_high"].mean() < 0
    if not costs.any():
        return [
            *lines,
            "The training mean in the state's place costs nothing clearly anywhere: patching can't tell here.",
        ]
    instead = slices["accuracy_mean"].mean()
    layer, step = instead.idxmin()
    where = plain(place(int(layer), int(step)))
    least = f"With the training mean instead: {share(instead.min())} at {where}."
    clearly = f"It clearly costs answers at {int(costs.sum())} of {len(costs)} slices"
    return [*lines, f"{least} {clearly}; elsewhere patching can't tell a good reconstruction from a poor one."]
