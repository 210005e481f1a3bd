"""What measurements of kind `equal-bits` found of an experiment, and of others over the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.folder import Workspace

KIND = "equal-bits"
_SAME = ("layer", "position", "dense_bits", "settings")


def measurements_of(workspace: Workspace, experiment: ExperimentFolder) -> list[ExperimentFolder]:
    """The equal-bits measurements over the experiment's activations, its own first, newest first; empty if there is no
    finished part of its own.
    """
    there = [
        other
        for other in workspace.experiments()
        if other.kind == KIND and other.activations == experiment.activations and _measured(other)
    ]
    there.sort(key=lambda other: other.created, reverse=True)
    own = [other for other in there if other.source == experiment.name]
    return [*own, *(other for other in there if other not in own)] if own else []


def equal_bits_curves(workspace: Workspace, experiment: ExperimentFolder) -> tuple[pd.DataFrame, dict[str, Any]]:
    """`sae.analysis.equal_bits.curves` of the experiment and of all that was measured on the same rows.

    Of the measurements of one source the newest counts. Measured on the same rows is what has the slice and the
    settings of the experiment's own newest measurement.

    Returns:
        The table, and `settings`, `dense_bits`, `split`, `n` (rows) and `measurements` (names) of what it was drawn
        from; an empty table and {} if the experiment was not measured.
    """
    import pandas as pd

    from sae.analysis.equal_bits import curves

    lines: list[pd.DataFrame] = []
    notes: dict[str, Any] = {}
    names: list[str] = []
    factors: dict[str, None] = {}
    sources: set[str | None] = set()
    for one in measurements_of(workspace, experiment):
        if one.source in sources:
            continue
        used = False
        for listed in one.content["measured"]:
            if (results := one.part_results(listed["id"])) is None:
                continue
            found = one.part_notes(listed["id"])
            if not notes:
                notes = {name: found[name] for name in _SAME} | {name: results[0][name] for name in ("split", "n")}
            if any(found[name] != notes[name] for name in _SAME):
                continue
            used = True
            factors |= dict.fromkeys(listed["factors"])
            more = {"experiment": one.source, "architecture": found["architecture"], **listed["factors"]}
            lines.append(one.part(listed["id"], "methods").assign(**more))
        if used:
            sources.add(one.source)
            names.append(one.name)
    if not lines:
        return pd.DataFrame(), {}
    return curves(pd.concat(lines, ignore_index=True), factors), {**notes, "measurements": names}


def _measured(experiment: ExperimentFolder) -> bool:
    return any(experiment.part_results(run) is not None for run in experiment.measured_runs())
