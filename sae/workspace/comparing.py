"""Which runs can be held against each other, and their features matched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError
from sae.experiments.plan import LAYERS
from sae.workspace.runs import RunFolder

if TYPE_CHECKING:
    from sae.analysis.matching import By, Matching
    from sae.common.progress import Progress
    from sae.workspace.folder import Workspace


def match_runs(
    workspace: Workspace, one: RunFolder, other: RunFolder, by: By = "cosine", progress: Progress | None = None
) -> Matching:
    """Match the living features of two runs (`sae.analysis.matching`). Living: active on any row it was measured on.

    Raises:
        UserError: if the two can't be compared so (`why_not`), or one is not finished.
    """
    from sae.analysis.matching import match_activations, match_directions

    reason = why_not(workspace, one, other)[by]
    if reason is not None:
        raise UserError(f"runs {one.id} and {other.id} can't be matched by {by}: {reason}")
    # Where activations have either sign, a direction and its opposite say the same.
    unsigned = any(run.config["model"].get("selection") == "magnitude" for run in (one, other))
    mine, theirs = one.codes(), other.codes()
    if by == "correlation":
        return match_activations(mine, theirs, unsigned=unsigned, progress=progress)
    W_a, W_b = one.directions(), other.directions()
    return match_directions(W_a, W_b, mine.n_active > 0, theirs.n_active > 0, unsigned=unsigned, progress=progress)


def why_not(workspace: Workspace, one: RunFolder, other: RunFolder) -> dict[By, str | None]:
    """By kind of similarity why two runs can't be compared by it; None where they can.

    Decoder cosine needs directions of one space: the same d_in, model and layer. Activation correlation needs the same
    rows: the same examples (and tokens) in the same order, of whatever model or layer.
    """
    return {"cosine": _other_space(workspace, one, other), "correlation": _other_rows(workspace, one, other)}


def siblings(workspace: Workspace, run: RunFolder) -> list[RunFolder]:
    """The finished runs of the same experiment whose factors differ from the run's in the seed alone."""
    name = run.config.get("experiment")
    if not name:
        return []
    try:
        listed = workspace.experiment(name).content["runs"]
    except UserError:
        return []  # a run outlives its experiment
    mine = _but_seed(run.factors)
    found = [workspace.root / "runs" / one["id"] for one in listed if _but_seed(one["factors"]) == mine]
    return [RunFolder(folder) for folder in found if folder.name != run.id and RunFolder(folder).done]


def alone(workspace: Workspace, run: RunFolder) -> dict[int, RunFolder]:
    """By layer the finished run of a crosscoder's experiment that has the layer to itself and else is the same."""
    name, mine = run.config.get("experiment"), run.factors
    if not name or LAYERS not in mine:
        return {}
    try:
        listed = workspace.experiment(name).runs()
    except UserError:
        return {}  # a run outlives its experiment
    found = {}
    for other in listed:
        same = {**other.factors, LAYERS: None} == {**mine, LAYERS: None}
        if same and other.id != run.id and other.done and len(other.config["data"]["layers"]) == 1:
            found[int(other.config["data"]["layers"][0])] = other
    return found


def family(workspace: Workspace, run: RunFolder) -> list[RunFolder]:
    """The run and the finished runs of its experiment that differ in the dictionary size alone, the smallest first."""
    name = run.config.get("experiment")
    if not name:
        return [run]
    mine = {key: value for key, value in run.factors.items() if key != "d_sae"}
    found = [
        other for other in workspace.experiment(name).runs()
        if other.done and {key: value for key, value in other.factors.items() if key != "d_sae"} == mine
    ]  # fmt: skip
    return sorted(found, key=lambda other: int(other.config["model"]["d_sae"]))


def _but_seed(factors: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in factors.items() if name != "seed"}


def _other_space(workspace: Workspace, one: RunFolder, other: RunFolder) -> str | None:
    widths = [int(run.config["model"]["d_in"]) for run in (one, other)]
    if widths[0] != widths[1]:
        return f"their decoders write into {widths[0]:,} and {widths[1]:,} dimensions"
    mine, theirs = one.config["data"], other.config["data"]
    if mine["sha256"] != theirs["sha256"]:
        models = [_model(workspace, data["activations"]) for data in (mine, theirs)]
        if None in models:
            return (
                f"activations {mine['activations']!r} and {theirs['activations']!r} don't say that they come from the "
                "same model"
            )
        if models[0] != models[1]:
            return "they were trained on activations of different models"
    layers = [data.get("layers") or [(data.get("target") or data)["layer"]] for data in (mine, theirs)]  # they write
    if layers[0] != layers[1]:
        one_said, other_said = (" with ".join(map(str, several)) for several in layers)
        return f"layers {one_said} and {other_said} are different spaces: a direction of one means nothing in the other"
    return None


def _other_rows(workspace: Workspace, one: RunFolder, other: RunFolder) -> str | None:
    mine, theirs = one.config["data"], other.config["data"]
    if mine["sha256"] == theirs["sha256"] and mine["start"] == theirs["start"]:
        return None
    try:
        slices = [rows_read(workspace.open_activations(data["activations"]), data) for data in (mine, theirs)]
    except UserError as error:
        return f"their rows can't be compared ({error})"
    (a, b), (rows_a, rows_b) = slices, (piece.rows for piece in slices)
    same = len(rows_a) == len(rows_b) and all(
        (name in rows_a) == (name in rows_b)
        and (name not in rows_a or np.array_equal(rows_a[name].to_numpy(), rows_b[name].to_numpy()))
        for name in ("example", "char_start", "char_end")
    )
    if same and mine["sha256"] != theirs["sha256"]:
        examples = a.activations.examples, b.activations.examples
        same = all("question" in table for table in examples) and np.array_equal(
            *(table["question"].astype(str).to_numpy() for table in examples)
        )
    return None if same else "they were not measured on the same examples in the same order, so they share no rows"


def _model(workspace: Workspace, activations: str) -> tuple[Any, ...] | None:
    """What tells a model from another; None where the activations don't know theirs, or are gone."""
    try:
        model = workspace.open_activations(activations).manifest.get("model")
    except UserError:
        return None
    if not isinstance(model, dict) or not model.get("name"):
        return None
    return tuple(model.get(name) for name in ("name", "revision", "sha256"))
