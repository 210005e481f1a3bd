"""`run list | show | features | pairs | specificity | autopsy | evaluate`."""

from __future__ import annotations

import argparse
from typing import Any

from sae.cli import comparing, evaluate
from sae.cli.output import emit, table, workspace_of


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    run = commands.add_parser("run", help="read one trained SAE")
    actions = run.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(run))
    one = actions.add_parser("list", parents=[common], help="all runs, the newest first")
    one.set_defaults(run=list_runs)
    for name, function, text in (
        ("show", show, "configuration and metrics"),
        ("features", features, "its features"),
        ("pairs", pairs, "its most correlated feature pairs"),
        ("specificity", specificity, "which label of the problems each feature goes with"),
        ("autopsy", autopsy, "its dead features: when they died, how near they came to firing"),
    ):
        one = actions.add_parser(name, parents=[common], help=text)
        one.add_argument("id", metavar="RUN")
        if name != "show":
            one.add_argument("--limit", type=int, default=20, metavar="N", help="lines to print (default 20)")
        one.set_defaults(run=function)
    comparing.add(actions, common)
    evaluate.add(actions, common)


def list_runs(options: argparse.Namespace) -> None:
    found = workspace_of(options).runs_table()
    if not found.empty:
        found = found.sort_values("created", ascending=False, kind="stable", na_position="last")
    lines = [{name: value for name, value in line.items() if value == value} for line in found.to_dict("records")]
    shown = ("id", "name", "experiment", "status", "validation.ev_total", "validation.l0", "all.dead")
    emit(options, lines, table([{name: line.get(name) for name in shown} for line in lines], "no runs yet"))


def show(options: argparse.Namespace) -> None:
    run = workspace_of(options).run(options.id)
    document = {"config": run.config, **(run.results if run.done else {"status": "unfinished", "error": run.error})}
    lines = [{"split": split, **metrics} for split, metrics in run.metrics.items()] if run.done else []
    emit(options, document, f"{run.title}\n{table(lines, run.error or 'not finished')}")


def features(options: argparse.Namespace) -> None:
    found = workspace_of(options).run(options.id).features().sort_values("n_active", ascending=False)
    lines = found.head(options.limit).to_dict("records")
    emit(options, lines, table(lines))


def pairs(options: argparse.Namespace) -> None:
    lines = workspace_of(options).run(options.id).pairs().head(options.limit).to_dict("records")
    emit(options, lines, table(lines, "no pair of features is active together often enough"))


def autopsy(options: argparse.Namespace) -> None:
    """Those that came nearest to firing first."""
    from sae.workspace.autopsies import autopsy_of

    workspace = workspace_of(options)
    found = autopsy_of(workspace, workspace.run(options.id))
    counts = ", ".join(f"{number:,} {fate}" for fate, number in found.fates.items()) or "no feature is dead"
    lines = found.table.sort_values("short", kind="stable").head(options.limit).to_dict("records")
    document = {"fates": found.fates, "rows": found.n_rows, "features": lines}
    emit(options, document, f"{counts}; read on {found.n_rows:,} rows\n{table(lines, '')}")


def specificity(options: argparse.Namespace) -> None:
    """Every confirmed pair of feature and label, the largest F1 on the held-out half first."""
    from sae.workspace.specificity import specificity_of

    workspace = workspace_of(options)
    run = workspace.run(options.id)
    found = specificity_of(workspace, run)
    confirmed = found.findings[found.findings["confirmed"]].sort_values(
        ["heldout_f1", "feature"], ascending=[False, True], kind="stable"
    )
    document = {"run": run.id, **found.notes, "findings": confirmed.head(options.limit).to_dict("records")}
    columns = [f"heldout_{name}" for name in ("n_active", "precision", "recall", "base_rate", "f1", "lift")]
    shown = confirmed[["feature", "label", *columns, "discovery_f1", "q"]].head(options.limit)
    lines = shown.assign(q=[f"{q:.0e}" for q in shown["q"]]).to_dict("records")
    notes = found.notes
    heading = (
        f"{notes['n_confirmed']:,} pairs of feature and label found on {notes['n_discovery']:,} examples and confirmed "
        f"on {notes['n_heldout']:,} others ({notes['n_tests']:,} tests; {notes['n_found']:,} found)"
    )
    nothing = f"no label of {notes['n_labels']:,} passes on both halves"
    emit(options, document, f"{heading}\n{table(lines, nothing)}")
