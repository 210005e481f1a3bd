"""`run show | features | pairs`."""

from __future__ import annotations

import argparse
from typing import Any

from sae.cli.output import emit, table, workspace_of


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    run = commands.add_parser("run", help="read one trained SAE")
    actions = run.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(run))
    for name, function, text in (
        ("show", show, "configuration and metrics"),
        ("features", features, "its features"),
        ("pairs", pairs, "its most correlated feature pairs"),
    ):
        one = actions.add_parser(name, parents=[common], help=text)
        one.add_argument("id", metavar="RUN")
        if name != "show":
            one.add_argument("--limit", type=int, default=20, metavar="N", help="lines to print (default 20)")
        one.set_defaults(run=function)


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
