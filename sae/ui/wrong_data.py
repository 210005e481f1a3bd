"""What the Right or wrong page reads and says: verdicts in words, the slices beside one another, who can't be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.ui.thought_data import near_constant

if TYPE_CHECKING:
    from sae.evaluation.error_prediction.one_pass import Detection
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

KIND = "error-prediction"
#: Baselines as a sentence names them.
NAMED = {
    "raw": "raw activations",
    "pca": "principal components",
    "log_prob": "the log-probability of the answer",
    "question": "the question alone",
    "random_sae": "a random SAE",
}


def measured(experiment: ExperimentFolder) -> list[str]:
    """The runs of which it has found something, in their order."""
    return [run for run in experiment.measured_runs() if (experiment.part_folder(run) / "results.json").exists()]


def verdict(probes: pd.DataFrame, differences: pd.DataFrame, null: Mapping[str, Any]) -> str:
    """What the full protocol found, in sentences: against chance, then against each baseline (Markdown of our own).

    A probe beats another where the 95 % interval of the paired difference lies above 0.
    """
    line = probes.set_index("probe").loc["sae"]
    area = f"AUROC **{line['auroc']:.3f}** (95 % interval {line['auroc_low']:.3f} to {line['auroc_high']:.3f})"
    p = f"p = {null['p']:.3f}, {null['n']:,} permutations of the labels"
    if null["p"] > 0.05:
        return f"Features don't predict wrong answers here: {area}, no more than chance gives ({p})."
    compared = differences.set_index("against")
    beaten = [NAMED[name] for name in NAMED if name in compared.index and compared["low"][name] > 0]
    behind = [NAMED[name] for name in NAMED if name in compared.index and compared["high"][name] < 0]
    level = [
        NAMED[name] for name in NAMED if name in compared.index and compared["low"][name] <= 0 <= compared["high"][name]
    ]
    said = [f"Features predict wrong answers with {area}, better than chance ({p})."]
    if not beaten:
        said.append("They beat none of the baselines: nothing here is seen only through the SAE.")
    else:
        said.append(f"They tell more than {_listed(beaten)}.")
    if level:
        said.append(f"They don't differ from {_listed(level)}.")
    if behind:
        said.append(f"They tell less than {_listed(behind)}.")
    return " ".join(said)


def quick_verdict(metrics: Mapping[str, float], intervals: Mapping[str, Any]) -> str:
    """What one pass found (Markdown of our own)."""
    low, high = intervals["auroc_one_pass"]
    below, above = intervals["difference_one_pass"]
    area = f"AUROC **{metrics['auroc_one_pass']:.3f}** (95 % interval {low:.3f} to {high:.3f})"
    other = f"the question alone ({metrics['auroc_question_one_pass']:.3f})"
    if below > 0 and low > 0.5:
        return f"In one pass features reach {area}, more than {other}."
    return f"In one pass features reach {area}, {'less than' if above < 0 else 'not clearly more than'} {other}."


def detection_text(found: Detection, names: Mapping[int, str], layer: Any) -> str:
    """From which step on features tell more than the question alone."""
    level = f"{100 * found.level:.1f} % intervals, so that all {len(found.areas)} hold together"
    if found.step is None:
        return f"At no step of layer {layer} do features tell more than the question alone ({level})."
    return f"Layer {layer}: from {names[found.step]} on, features tell more than the question alone ({level})."


def over_slices(experiment: ExperimentFolder, run: str) -> pd.DataFrame:
    """The measured runs that differ from `run` in layer and position only, a line each.

    Returns:
        run, layer, position, the metrics of one pass, their bounds (`auroc_low`, `auroc_high`), `difference_low`, n,
        near_constant (the rows of the slice hardly differ from their mean).
    """
    listed = {one["id"]: one["factors"] for one in experiment.content["measured"]}
    alike = _other(listed[run])
    lines = []
    for one, factors in listed.items():
        if _other(factors) != alike or not (found := experiment.part_results(one)):
            continue
        notes, metrics, intervals = experiment.part_notes(one), found[0]["metrics"], found[0]["interval"]
        if notes.get("layer") is None or notes.get("position") is None:
            continue
        low, high = intervals["auroc_one_pass"]
        lines.append(
            {
                "run": one,
                "layer": int(notes["layer"]),
                "position": int(notes["position"]),
                "auroc": metrics["auroc_one_pass"],
                "auroc_low": low,
                "auroc_high": high,
                "question": metrics["auroc_question_one_pass"],
                "difference": metrics["difference_one_pass"],
                "difference_low": intervals["difference_one_pass"][0],
                "n": found[0]["n"],
                "protocol": notes.get("protocol"),
                "near_constant": near_constant(experiment.workspace.run(one)),
                "state": "done",
            }
        )
    return pd.DataFrame(lines)


def over_layers_and_steps(workspace: Workspace, experiment: ExperimentFolder) -> list[str]:
    """Other predictions of errors on the same activations, over several slices, of which something was found."""
    return [
        one.name for one in workspace.experiments()
        if one.kind == KIND and one.name != experiment.name and one.activations == experiment.activations
        and {"layer", "position"} <= set(one.factors) and measured(one)
    ]  # fmt: skip


def constant_text(slices: pd.DataFrame, name: Callable[[int, int], str]) -> str:
    """Which of `over_slices` are near-constant, in a sentence; empty if none. `name` names a layer and a step."""
    odd = slices[slices["near_constant"]]
    if odd.empty:
        return ""
    named = "; ".join(name(int(line["layer"]), int(line["position"])) for line in odd.to_dict("records")[:6])
    more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
    return f"Near-constant, so that a number says little there: {named}{more}."


def step_table(experiment: ExperimentFolder, slices: pd.DataFrame, layer: int) -> tuple[pd.DataFrame, Detection]:
    """The steps of one layer with intervals that hold together (Bonferroni), and the first that beats the question.

    Returns:
        (position, auroc, low, high, question; a line a step, ascending), and the detection.
    """
    from sae.evaluation.error_prediction.one_pass import early_detection

    lines = slices[slices["layer"] == layer].sort_values("position")
    draws = {int(line["position"]): experiment.part(line["run"], "draws") for line in lines.to_dict("records")}
    found = early_detection(
        {step: one["sae_one_pass"].to_numpy() for step, one in draws.items()},
        {step: one["question_one_pass"].to_numpy() for step, one in draws.items()},
    )
    bounds = np.array([found.areas[step] for step in sorted(draws)]).reshape(-1, 2)
    table = lines[["position", "auroc", "question"]].reset_index(drop=True)
    return table.assign(low=bounds[:, 0], high=bounds[:, 1]), found


def can_be_asked(workspace: Workspace) -> tuple[list[str], list[str]]:
    """(names of activations that say which answers were right, names of those that don't)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    able: list[str] = []
    unable: list[str] = []
    for manifest in workspace.activations():
        name = manifest["name"]
        try:
            columns = pq.read_schema(workspace.activations_folder(name) / "examples.parquet").names
        except (OSError, pa.ArrowException):
            columns = []
        (able if "correct" in columns else unable).append(name)
    return able, unable


def _other(factors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in factors.items() if name not in ("layer", "position")}


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
