"""`export RUN --format FORMAT --out DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sae.cli.output import emit, workspace_of
from sae.common.errors import UserError
from sae.formats.forms import WRITTEN


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    one = commands.add_parser("export", parents=[common], help="write an SAE in another tool's format, with a card")
    one.add_argument("id", metavar="RUN")
    one.add_argument("--format", required=True, choices=tuple(WRITTEN), help="whose format")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    one.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload it to the Hugging Face hub, with HF_TOKEN")
    one.add_argument("--private", action="store_true", help="a repository that is new there is private")
    one.set_defaults(run=export)


def export(options: argparse.Namespace) -> None:
    from sae.workspace.exports import export_run, hub_token, push_to_hub

    if options.private and not options.push_to_hub:
        raise UserError("--private says how a repository is made: give --push-to-hub OWNER/NAME with it")
    if options.push_to_hub:
        hub_token(options.push_to_hub)  # before anything is written
    workspace = workspace_of(options)
    done = export_run(workspace, workspace.run(options.id), options.format, options.out)
    document = {
        "folder": str(done.folder),
        "format": done.form.format,
        "architecture": done.form.name,
        "changes": list(done.form.changes),
        "sha256": done.files,
    }
    if options.push_to_hub:
        document["hub"] = push_to_hub(done, options.push_to_hub, private=options.private)
    lines = [f"{done.folder}: {done.form.name} in the format of {done.form.format}"]
    lines += [f"  {name}" for name in done.files]
    lines += [f"note: {change}" for change in done.form.changes]
    lines += [f"uploaded to {document['hub']}"] if options.push_to_hub else []
    emit(options, document, "\n".join(lines))
