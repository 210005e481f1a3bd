"""The report of an experiment: its heat maps, frontier and curves where it trains runs, and all its results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sae.figures.style import metric_title
from sae.report.document import Panel, Report
from sae.report.recipes import Reproduce, experiment_command, measurement_command
from sae.report.render import factor_title, plotly_text

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.runs import RunFolder

_HEAT_MAPS = {
    "ev_total": "Share of the variance around the training mean that the reconstruction keeps.",
    "dead": "Features that are active on no row of the split.",
}
_CURVES = 24  # runs in one figure


def experiment_report(experiment: ExperimentFolder) -> Report:
    """Everything of an experiment or a measurement that is finished by now.

    Raises:
        UserError: if its files can't be read.
    """
    results = experiment.results()
    states = experiment.runs_table()["status"]
    done = int((states == "done").sum())
    facts = [
        ("Kind", experiment.kind),
        ("Activations", experiment.activations),
        ("Measures" if experiment.source else "Runs", f"{done:,} of {len(states):,} finished"),
        ("Begun", experiment.created[:16].replace("T", " ")),
    ]
    facts += [
        (factor_title(name), ", ".join(map(str, values))) for name, values in experiment.factors.items() if values
    ]
    if experiment.source:
        facts.insert(1, ("Runs of", experiment.source))
    panels = list(_panels(experiment, results)) if len(results) else []
    said = "Every finished run, with its metrics by split." if len(results) else "Nothing of it is finished yet."
    return Report(experiment.name, "experiment", said, facts, panels, reads=_hashes(experiment))


def _panels(experiment: ExperimentFolder, results: pd.DataFrame) -> Iterator[Panel]:
    reproduce = Reproduce(_command(experiment), _PYTHON.format(name=experiment.name), {})
    if experiment.source is None:
        splits = list(results["split"].unique())
        split = "validation" if "validation" in splits else splits[0]
        here = results[results["split"] == split].drop(columns="split").rename(columns={"id": "run"})
        yield from _heat_maps(experiment, here, split, reproduce)
        if {"k", "d_sae", "ev_total"} <= set(here):
            yield _frontier(experiment, here, split, reproduce)
        yield from _curves(experiment, reproduce)
    yield Panel(
        "results", "Results", "A line for each finished run and split.", results.dropna(axis=1, how="all"),
        n=f"{results['id'].nunique():,} runs", reproduce=reproduce,
    )  # fmt: skip


def _heat_maps(experiment: ExperimentFolder, table: pd.DataFrame, split: str, reproduce: Reproduce) -> Iterator[Panel]:
    from sae.figures.grid import grid_heat_map

    names = [name for name, values in experiment.factors.items() if name != "seed" and name in table]
    varied = [name for name in names if len(experiment.factors[name]) > 1]
    x, y = ("d_sae", "k") if {"d_sae", "k"} <= set(names) else (*varied, *names, "")[:2]
    if not y or x == y:
        return
    for metric, meaning in _HEAT_MAPS.items():
        if metric in table:
            figure = grid_heat_map(table, metric, x=x, y=y, height=360)
            yield Panel(
                metric, metric_title(metric), f"{meaning} {split.capitalize()} rows; the mean of a cell's runs.",
                table[["run", *experiment.factors, metric]], figure, f"{len(table):,} runs", reproduce,
            )  # fmt: skip


def _frontier(experiment: ExperimentFolder, table: pd.DataFrame, split: str, reproduce: Reproduce) -> Panel:
    from sae.analysis.pareto import non_dominated
    from sae.figures.frontier import frontier

    cells = [name for name in experiment.factors if name != "seed"]
    grouped = table.groupby(cells, sort=False)["ev_total"]
    lines = grouped.agg(ev_total="mean", ev_total_sd="std", seeds="size").reset_index()
    lines["on_frontier"] = non_dominated(lines, ["ev_total"], ["k"])
    figure = frontier(lines, staircase=True, error="ev_total_sd", height=360)
    return Panel(
        "frontier", "Explained variance against K",
        f"Filled: no configuration is as good in both and better in one. {split.capitalize()} rows.",
        lines, figure, f"{len(lines):,} configurations", reproduce,
    )  # fmt: skip


def _curves(experiment: ExperimentFolder, reproduce: Reproduce) -> Iterator[Panel]:
    import pandas as pd

    from sae.figures.curves import learning_curves

    runs = [run for run in experiment.runs() if run.done][:_CURVES]
    varied = [name for name, values in experiment.factors.items() if len(values) > 1]
    histories = {_name(run, varied): run.history() for run in runs}
    column = "validation_ev_total"
    histories = {title: table for title, table in histories.items() if {"step", column} <= set(table)}
    if not histories:
        return
    parts = [table[["step", column]].dropna().assign(run=title) for title, table in histories.items()]
    figure = learning_curves({plotly_text(title): table for title, table in histories.items()}, column, height=360)
    figure.update_layout(showlegend=len(histories) <= 12)
    yield Panel(
        "curves", "Learning curves", "Explained variance on validation rows while they trained.",
        pd.concat(parts, ignore_index=True), figure, f"{len(histories):,} runs", reproduce,
    )  # fmt: skip


def _name(run: RunFolder, varied: list[str]) -> str:
    """A run by what varies in its experiment, or by the name that it was given."""
    words = [f"{factor_title(name)} {run.factors[name]}" for name in varied if name in run.factors]
    return str(run.config.get("name") or ", ".join(words) or run.title)


def _command(experiment: ExperimentFolder) -> str:
    trained = experiment_command if experiment.source is None else measurement_command
    return f"{trained(experiment.spec)}\npython -m sae experiment show {experiment.name} --json"


_PYTHON = """from sae.workspace import Workspace

Workspace.at().experiment("{name}").results()"""


def _hashes(experiment: ExperimentFolder) -> dict[str, str]:
    reads = {}
    if digest := experiment.content.get("activations_sha256"):
        reads[f"activations/{experiment.activations}/activations.npy"] = digest
    for run in experiment.runs():
        if run.done and (digest := run.results.get("sha256", {}).get("weights.safetensors")):
            reads[f"runs/{run.id}/weights.safetensors"] = digest
    return reads
