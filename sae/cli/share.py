"""`share`: results as one file that opens elsewhere. `open`: such a bundle. `findings`: claims and their links."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sae.cli.output import emit, table, workspace_of
from sae.common.errors import UserError


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    one = commands.add_parser("share", parents=[common], help="a report (.html) or a bundle (.zip)")
    one.add_argument("name", metavar="EXP-or-RUN", nargs="+", help="several for a bundle only")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.html or FILE.zip")
    text = "a report of these features of a run alone: numbers (3,17), all, first:N, list:NAME"
    one.add_argument("--features", metavar="F", help=text)
    one.add_argument("--panel", metavar="KEY", help="a report of this panel alone: ev_total, frontier, map, ...")
    text = "the page that a bundle opens on, as its address has it: 'run?run=ID&view=activity'"
    one.add_argument("--view", metavar="PAGE", help=text)
    one.add_argument("--values", action="store_true", help="put the activations' arrays into the bundle too")
    one.set_defaults(run=share)

    one = commands.add_parser(
        "open", parents=[common], help="put a bundle (.zip) that somebody sent into the workspace"
    )
    one.add_argument("path", type=Path, metavar="FILE.zip")
    one.add_argument("--look", action="store_true", help="only say what is in it and what differs from what is here")
    one.set_defaults(run=open_bundle)

    one = commands.add_parser("findings", parents=[common], help="claims with the links that carry them, as Markdown")
    one.set_defaults(run=findings)


def share(options: argparse.Namespace) -> None:
    ending = options.out.suffix.lower()
    if ending == ".zip":
        if options.features or options.panel:
            raise UserError("--features and --panel are of a report: give --out FILE.html")
        _bundle(options)
    elif ending in (".html", ".htm"):
        if options.view or options.values:
            raise UserError("--view and --values are of a bundle: give --out FILE.zip")
        _report(options)
    else:
        raise UserError(f"{options.out} must end in .html (a report) or .zip (a bundle)")


def findings(options: argparse.Namespace) -> None:
    from sae.workspace.findings import Findings
    from sae.workspace.findings_file import to_file

    print(to_file(Findings(workspace_of(options)).all(), "json" if options.json else "md"), end="")


def _report(options: argparse.Namespace) -> None:
    from sae.report.make import make_report
    from sae.report.render import write_html

    if len(options.name) > 1:
        raise UserError("a report is of one experiment or run: give one, or --out FILE.zip for a bundle of several")
    report = make_report(workspace_of(options), options.name[0], features=options.features, panel=options.panel)
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


def _bundle(options: argparse.Namespace) -> None:
    from sae.workspace.bundles import make_bundle

    manifest = make_bundle(
        workspace_of(options), options.name, options.out, view=options.view, values=options.values
    )  # fmt: skip
    size = options.out.stat().st_size
    files = manifest["files"]
    runs = sorted({name.split("/")[1] for name in files if name.startswith("runs/")})
    document = {"file": str(options.out), "bytes": size, "runs": runs, "files": len(files), "needs": manifest["needs"]}
    lines = [f"{options.out}: {len(runs)} runs, {len(files)} files, {size / 1e6:.1f} MB"]
    lines += [f"without the values of activations {need['activations']}" for need in manifest["needs"]]
    emit(options, document, "\n".join(lines))


def open_bundle(options: argparse.Namespace) -> None:
    from sae.workspace.bundles_merge import open_bundle

    found = open_bundle(workspace_of(options), options.path, look=options.look)
    document = {**vars(found), "differences": [vars(one) for one in found.differences]}
    head = f"{found.title}: {len(found.added)} {'new' if options.look else 'added'}, {len(found.here)} here already"
    lines = [head, *found.refused, *(f"{theirs} is called {ours} here" for theirs, ours in found.renamed.items())]
    lines += [f"without the values of activations {need.get('activations')}" for need in found.needs]
    if found.differences:
        shown = [{name: _short(value) for name, value in vars(one).items()} for one in found.differences]
        lines += ["", table(shown)]
    lines += ["", f"opens on {found.view}"] if found.view else []
    emit(options, document, "\n".join(lines))


def _short(value: Any) -> Any:
    """A cell of one line."""
    from sae.report.visible import visible

    return visible(" ".join(value.split()))[:48] if isinstance(value, str) else value
