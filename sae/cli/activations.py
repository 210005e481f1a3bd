"""`capture`, and `activations import | planted | list | show | delete`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sae.capture.context import cut_text
from sae.cli.output import emit, table, unread_text, workspace_of
from sae.common.errors import UserError
from sae.common.progress import Console, seconds_text


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    one = commands.add_parser("capture", parents=[common], help="hidden states of a language model over problems")
    one.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="a hub id, a local folder, smollm2-135m, a CODI model for thoughts, or an encoder (minilm) for pooled",
    )
    one.add_argument(
        "--problems",
        required=True,
        metavar="P",
        help="a .jsonl file, gsm8k, gsm8k:test, generated:N, an ontology's terms (hpo, or a .obo file), or texts: a "
        ".txt file, a .jsonl file with text, hub:OWNER/NAME[:CONFIG[:SPLIT]]",
    )
    one.add_argument(
        "--test-problems", metavar="Q", help="more problems, kept as the split 'test' (generated ones: the next seed)"
    )
    one.add_argument(
        "--layers", metavar="LIST", help="blocks whose output is kept: 9 or 0,9,14 or all; not chosen for pooled"
    )
    one.add_argument(
        "--positions",
        default="last",
        choices=("last", "all", "thoughts", "pooled"),
        help="pooled: one row a text, the mean over its tokens",
    )
    one.add_argument("--steps", metavar="LIST", help="of thoughts: 0 is BOT, 1 to 6 the thoughts; default all")
    one.add_argument(
        "--final-norm",
        default="before",
        choices=("before", "after"),
        help="of thoughts: where the last block is read; published activations are after",
    )
    one.add_argument("--text", default="question", choices=("question", "question+answer"))
    one.add_argument(
        "--context", type=int, metavar="N", help="cut each into pieces of at most N tokens (texts: default 128)"
    )
    one.add_argument("--tokens", type=int, metavar="M", help="stop where M tokens that make rows are reached")
    one.add_argument("--name", required=True, metavar="NAME")
    one.add_argument("--limit", type=int, metavar="N", help="only the first N problems, terms or texts")
    one.add_argument("--seed", type=int, default=0, help="of generated problems")
    one.add_argument("--dtype", choices=("float16", "float32"), help="default: float16 for thoughts, else float32")
    one.add_argument("--answers", action="store_true", help="also let the model answer, and mark right and wrong")
    one.add_argument("--device", default="auto")
    once = one.add_mutually_exclusive_group()
    once.add_argument("--queue", action="store_true", help="only put it into the queue")
    once.add_argument("--dry-run", action="store_true", help="only say what it would cost, from one batch")
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
    one = actions.add_parser("planted", parents=[common], help="make activations of known concepts, to check against")
    one.add_argument("--name", required=True, metavar="NAME")
    for option, default, text in (
        ("rows", 10_000, "how many"),
        ("d-in", 64, "dimensions"),
        ("concepts", None, "directions that rows are sums of (default 128, with --hierarchy 32)"),
        ("k", 4, "different concepts of a row"),
        ("branches", None, "parents of the concepts (default 8)"),
        ("terms", 2, "rows with the same concepts, which stay on one side of the split"),
        ("seed", 0, "everything follows from it"),
        ("hierarchy", None, "so many concepts have children that never come without them, to measure absorption on"),
        ("children", None, "with --hierarchy: of each parent (default 4)"),
    ):
        said = text if default is None else f"{text} (default {default})"
        one.add_argument(f"--{option}", type=int, default=default, metavar="N", help=said)
    one.add_argument("--noise", type=float, default=0.1, metavar="X", help="share of a row's norm (default 0.1)")
    for option, said in (
        ("child-rate", "share of a parent's rows with one of its children (default 0.5)"),
        ("exponent", "of the power law that concepts and children are drawn by (default 0.5)"),
    ):
        one.add_argument(f"--{option}", type=float, metavar="X", help=f"with --hierarchy: {said}")
    one.add_argument(
        "--superposition",
        action="store_true",
        default=None,
        help="with --hierarchy: random directions, instead of ones at right angles",
    )
    one.set_defaults(run=plant)
    one = actions.add_parser("list", parents=[common], help="all activations")
    one.set_defaults(run=list_activations)
    for name, run, text in (("show", show, "what they are"), ("delete", delete, "delete them")):
        one = actions.add_parser(name, parents=[common], help=text)
        one.add_argument("name", metavar="NAME")
        one.set_defaults(run=run)


def capture(options: argparse.Namespace) -> None:
    from sae.workspace.start import estimate_capture, start_capture

    spec = {
        "name": options.name,
        "model": options.model,
        "problems": options.problems,
        "test_problems": options.test_problems,
        "limit": options.limit,
        "seed": options.seed,
        "layers": options.layers,
        "positions": options.positions,
        "steps": options.steps,
        "final_norm": options.final_norm,
        "text": options.text,
        "context": options.context,
        "tokens": options.tokens,
        "dtype": options.dtype,
        "answers": options.answers,
    }
    if options.dry_run:
        cost = estimate_capture(spec, options.device)
        emit(options, cost, _cost_text(cost))
        return
    workspace = workspace_of(options)
    job = start_capture(workspace, spec, device=options.device)
    if options.queue:
        emit(options, {"job": job.id, "activations": options.name, "status": job.status}, f"queued as job {job.id}")
        return
    from sae.workspace.follow import foreground

    foreground(workspace, job, Console())
    show(options)


def _cost_text(cost: dict[str, Any]) -> str:
    """`7,473 problems, 16 layers, 7 steps: 836,976 rows of 2,048 dimensions (float16), 3.43 GB, about 3 h 10 min`."""
    steps = f", {len(cost['steps'])} steps" if cost["steps"] else ""
    skipped = f", {cost['skipped']:,} of them skipped" if cost["skipped"] else ""
    time = f", about {seconds_text(cost['seconds'])}" if cost["seconds"] is not None else ""
    size = f"{cost['bytes'] / 1e9:,.2f} GB" if cost["bytes"] >= 1e9 else f"{cost['bytes'] / 1e6:,.1f} MB"
    layers = f", {len(cost['layers'])} layers{steps}" if cost["layers"] is not None else ", pooled"
    cut = cost["cut"]
    what = f"pieces of {cut['documents']:,} texts" if cut and cut["context"] else "problems"
    return (
        f"{cost['examples']:,} {what}{skipped}{layers}: {cost['rows']:,} rows of "
        f"{cost['d_in']:,} dimensions ({cost['dtype']}), {size}{time}"
    )


def import_array(options: argparse.Namespace) -> None:
    from sae.capture import import_activations

    workspace = workspace_of(options)
    import_activations(
        options.file, workspace.activations_folder(options.name), name=options.name, examples=options.examples
    )
    show(options)


def plant(options: argparse.Namespace) -> None:
    from sae.capture.planted import Planting, plant_activations
    from sae.capture.planted_hierarchy import Hierarchy, plant_hierarchy_activations

    folder = workspace_of(options).activations_folder(options.name)
    both = ("rows", "d_in", "concepts", "k", "terms", "noise", "seed")
    alone, theirs = ("branches",), ("children", "child_rate", "exponent", "superposition")
    flat = options.hierarchy is None
    for name in theirs if flat else alone:
        if getattr(options, name) is not None:
            word = name.replace("_", "-")
            raise UserError(f"--{word} is {'for --hierarchy N' if flat else 'not for --hierarchy'}: leave it out")
    names = (*both, *(alone if flat else theirs))
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if flat:
        plant_activations(Planting(**given), folder, name=options.name)
    else:
        plant_hierarchy_activations(Hierarchy(**given, parents=options.hierarchy), folder, name=options.name)
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
            "test": len(piece.test_rows),
        }
        for piece in activations.slices
    ]
    said = [f"{activations.name}: {activations.n_rows:,} rows of {activations.d_in:,} dimensions", table(lines)]
    if note := activations.manifest.get("convention_note"):
        said.append(note)
    if cut := activations.manifest.get("cut"):
        said.append(cut_text(cut))
    if skipped := activations.manifest.get("skipped"):
        said.append(f"{len(skipped):,} problems skipped; the first, {skipped[0]['example']}: {skipped[0]['reason']}")
    problems = activations.manifest.get("problems") or {}
    if problems.get("kind") == "ontology":
        left = problems.get("unread") or []
        said += [f"{len(left):,} left out: {left[0]}" + ("; ..." if len(left) > 1 else "")] if left else []
    else:
        said += [one for part in (problems, problems.get("test") or {}) if (one := unread_text(part.get("unread")))]
    emit(options, activations.manifest, "\n".join(said))


def delete(options: argparse.Namespace) -> None:
    workspace_of(options).delete_activations(options.name)
    emit(options, {"deleted": options.name}, f"deleted {options.name}")
