"""`capture`, and `activations import | list | show | delete`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sae.cli.output import emit, table, workspace_of
from sae.common.progress import Console


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    one = commands.add_parser("capture", parents=[common], help="hidden states of a language model over problems")
    one.add_argument("--model", required=True, metavar="M", help="a hub id, a local folder, or smollm2-135m")
    one.add_argument("--problems", required=True, metavar="P", help="a .jsonl file, gsm8k, gsm8k:test, or generated:N")
    one.add_argument("--layers", required=True, metavar="LIST", help="blocks whose output is kept, e.g. 9 or 0,9,14")
    one.add_argument("--positions", default="last", choices=("last", "all"))
    one.add_argument("--text", default="question", choices=("question", "question+answer"))
    one.add_argument("--name", required=True, metavar="NAME")
    one.add_argument("--limit", type=int, metavar="N", help="only the first N problems")
    one.add_argument("--seed", type=int, default=0, help="of generated problems")
    one.add_argument("--dtype", default="float32", choices=("float16", "float32"))
    one.add_argument("--answers", action="store_true", help="also let the model answer, and mark right and wrong")
    one.add_argument("--device", default="auto")
    one.add_argument("--queue", action="store_true", help="only put it into the queue")
    one.set_defaults(run=capture)

    activations = commands.add_parser("activations", help="import activations, list and show them")
    actions = activations.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(activations))
    one = actions.add_parser("import", parents=[common], help="take in an array: .npy, .safetensors or .parquet")
    one.add_argument("file", metavar="X", type=Path)
    one.add_argument(
        "--examples", type=Path, metavar="FILE.jsonl", help="one line a row: question, answer, labels, split"
    )
    one.add_argument("--name", required=True, metavar="NAME")
    one.set_defaults(run=import_array)
    one = actions.add_parser("list", parents=[common], help="all activations")
    one.set_defaults(run=list_activations)
    for name, run, text in (("show", show, "what they are"), ("delete", delete, "delete them")):
        one = actions.add_parser(name, parents=[common], help=text)
        one.add_argument("name", metavar="NAME")
        one.set_defaults(run=run)


def capture(options: argparse.Namespace) -> None:
    from sae.workspace.start import start_capture

    workspace = workspace_of(options)
    job = start_capture(
        workspace,
        {
            "name": options.name,
            "model": options.model,
            "problems": options.problems,
            "limit": options.limit,
            "seed": options.seed,
            "layers": options.layers,
            "positions": options.positions,
            "text": options.text,
            "dtype": options.dtype,
            "answers": options.answers,
        },
        device=options.device,
    )
    if options.queue:
        emit(options, {"job": job.id, "activations": options.name, "status": job.status}, f"queued as job {job.id}")
        return
    from sae.workspace.follow import foreground

    foreground(workspace, job, Console())
    show(options)


def import_array(options: argparse.Namespace) -> None:
    from sae.capture import import_activations

    workspace = workspace_of(options)
    import_activations(
        options.file, workspace.activations_folder(options.name), name=options.name, examples=options.examples
    )
    show(options)


def list_activations(options: argparse.Namespace) -> None:
    found = workspace_of(options).activations()
    keys = ("name", "kind", "n_rows", "d_in", "n_examples", "dtype", "created", "error")
    lines = [{key: manifest[key] for key in keys if key in manifest} for manifest in found]
    emit(options, found, table(lines, "no activations yet: 'capture' or 'activations import' makes some"))


def show(options: argparse.Namespace) -> None:
    activations = workspace_of(options).open_activations(options.name)
    lines = [
        {
            "slice": piece.title,
            "rows": piece.stop - piece.start,
            "train": len(piece.train_rows),
            "validation": len(piece.validation_rows),
        }
        for piece in activations.slices
    ]
    emit(
        options,
        activations.manifest,
        f"{activations.name}: {activations.n_rows:,} rows of {activations.d_in:,} dimensions\n{table(lines)}",
    )


def delete(options: argparse.Namespace) -> None:
    workspace_of(options).delete_activations(options.name)
    emit(options, {"deleted": options.name}, f"deleted {options.name}")
