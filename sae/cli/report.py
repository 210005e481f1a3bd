"""`report-files`: the published grid report's appendix from an experiment of ours. `claims`: its claims beside one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sae.cli.output import emit, table, workspace_of
from sae.common.errors import UserError
from sae.common.progress import Console


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "the grid report's files (state dicts, metrics, figures), or the figures of an orthogonality experiment"
    one = commands.add_parser("report-files", parents=[common], help=text)
    one.add_argument("name", metavar="EXP")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or an earlier output")
    one.add_argument("--preset", metavar="P", help="default: published if there, else the first")
    one.add_argument("--seed", type=int, metavar="S", help="default: the first")
    one.set_defaults(run=report_files)

    text = "what the founding documents claim, beside what was measured"
    one = commands.add_parser("claims", parents=[common], help=text)
    one.add_argument("--experiment", metavar="EXP", help="what they are held against; without it, their own arithmetic")
    one.add_argument("--preset", metavar="P", help="default: the one nearest the document's recipe")
    one.set_defaults(run=claims)


def report_files(options: argparse.Namespace) -> None:
    from sae.workspace.ablation_files import write_ablation_files
    from sae.workspace.report_files import write_report_files

    workspace = workspace_of(options)
    kind = workspace.experiment(options.name).trains
    if kind is not None and kind.ablates:
        if options.preset or options.seed is not None:
            raise UserError("--preset and --seed choose runs of a grid: an ablation's figures are of all its levels")
        document = write_ablation_files(workspace, options.name, options.out)
        if document["figures_left_out"]:
            print(f"the images were left out: {document['figures_left_out']}", file=sys.stderr)
    else:
        document = write_report_files(
            workspace, options.name, options.out, preset=options.preset, seed=options.seed, progress=Console()
        )
        if document["figures_left_out"]:
            print(f"the six figures were left out: {document['figures_left_out']}", file=sys.stderr)
    head = f"{len(document['files']) + 1} files in {document['folder']}"
    emit(options, document, "\n".join([head, *document["files"]]))


def claims(options: argparse.Namespace) -> None:
    from sae.analysis.claims import evaluate, load_all
    from sae.workspace.evidence import gather

    documents = load_all()
    measured = {}
    if options.experiment:
        experiment = workspace_of(options).experiment(options.experiment)
        measured = {
            document.id: gather(experiment, document, options.preset)
            for document in documents
            if experiment.kind in document.experiment_kinds
        }
        if not measured:
            raise UserError(f"no document makes claims about a {experiment.kind}: {experiment.name!r} is one")
    found = evaluate(documents, measured)
    lines = [
        {
            "claim": line["id"],
            "section": line["section"],
            "says": line["says"],
            "here": line["value"],
            "verdict": line["verdict"],
            "evidence": line["evidence"],
        }
        for line in found.to_dict("records")
    ]
    emit(options, found.drop(columns=["page", "query"]).to_dict("records"), table(lines, "no claims"))
