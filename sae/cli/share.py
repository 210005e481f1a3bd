"""`share`: an experiment, a run, features or a panel as one file that opens elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sae.cli.output import emit, workspace_of
from sae.common.errors import UserError


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    one = commands.add_parser("share", parents=[common], help="one file of an experiment or a run: a report (.html)")
    one.add_argument("name", metavar="EXP-or-RUN")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.html")
    text = "a report of these features of a run alone: numbers (3,17), all, first:N, list:NAME"
    one.add_argument("--features", metavar="F", help=text)
    one.add_argument("--panel", metavar="KEY", help="a report of this panel alone: ev_total, frontier, map, ...")
    one.set_defaults(run=share)


def share(options: argparse.Namespace) -> None:
    from sae.report.make import make_report
    from sae.report.render import write_html

    if options.out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{options.out} must end in .html")
    report = make_report(workspace_of(options), options.name, features=options.features, panel=options.panel)
    path = write_html(report, options.out)
    cards = len(report.features["cards"]) if report.features else 0
    document = {
        "file": str(path),
        "kind": report.kind,
        "bytes": path.stat().st_size,
        "panels": [panel.key for panel in report.panels],
        "features": cards,
    }
    what = ", ".join(part for part in (f"{len(report.panels)} panels", f"{cards} features" if cards else "") if part)
    emit(options, document, f"{path}: {what}, {path.stat().st_size / 1e6:.1f} MB; opens without a network")
