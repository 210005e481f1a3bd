"""Reports of what is in a workspace: an experiment, a run, features of a run, or one panel of these."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sae.common.errors import UserError
from sae.report.document import Report

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder


def make_report(workspace: Workspace, name: str, *, features: str | None = None, panel: str | None = None) -> Report:
    """The report of an experiment or a run.

    Args:
        name: an experiment's name, or a run's id or an unambiguous beginning of it; an experiment goes first.
        features: of a run: cards of these features (`sae.report.features.choose`) and nothing else.
        panel: the key of one panel, which is then all there is.

    Raises:
        UserError: if there is nothing of that name, or no such panel or feature.
    """
    from sae.report.of_experiment import experiment_report
    from sae.report.of_run import features_report, run_report

    if (workspace.experiment_folder(name) / "experiment.json").exists():
        if features is not None:
            raise UserError(f"{name!r} is an experiment: features are those of one run; give a run's id")
        report = experiment_report(workspace.experiment(name))
    else:
        run = _run(workspace, name)
        report = run_report(workspace, run) if features is None else features_report(workspace, run, features)
    if panel is None:
        return report
    found = [one for one in report.panels if one.key == panel]
    if not found:
        keys = ", ".join(one.key for one in report.panels) or "none"
        raise UserError(f"there is no panel {panel!r} in the report of {name!r}; its panels: {keys}")
    return replace(report, kind="panel", panels=found, features=None)


def _run(workspace: Workspace, name: str) -> RunFolder:
    try:
        run = workspace.run(name)
    except UserError:
        experiments = ", ".join(experiment.name for experiment in workspace.experiments()) or "none"
        raise UserError(f"there is no experiment or run {name!r}; experiments: {experiments}") from None
    if not run.done:
        raise UserError(f"run {run.id} is not finished: there is nothing to report yet")
    return run
