"""`demo`, `import`, `supervisor`, `workspace`, `job`, `problems`."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

from sae.cli.output import emit, table, workspace_of
from sae.common.errors import UserError
from sae.common.files import to_json
from sae.common.progress import Console


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    one = commands.add_parser(
        "demo", parents=[common], help="activations of a small language model, and the grid on them"
    )
    one.add_argument("--device", default="auto")
    one.add_argument("--queue", action="store_true", help="only put it into the queue")
    one.set_defaults(run=demo)

    one = commands.add_parser(
        "import", parents=[common], help="take in an SAE of this or another tool: docs/howto/own-sae.md"
    )
    one.add_argument("path", type=Path, metavar="PATH", help="a folder, a .pt file, or saelens:RELEASE/ID")
    one.add_argument("--activations", required=True, metavar="NAME", help="what it is measured on")
    one.add_argument("--layer", type=int)
    one.add_argument("--position", type=int)
    one.add_argument("--target-layer", type=int, help="of what a transcoder writes (default: its own)")
    one.add_argument("--target-position", type=int, help="likewise")
    one.add_argument("--k", type=int, help="K of a grid's .pt whose name doesn't say it")
    one.set_defaults(run=import_sae)

    one = commands.add_parser("supervisor", parents=[common], help="run queued jobs on a device")
    one.add_argument("--device", default="auto")
    one.add_argument("--idle-exit", type=float, metavar="SECONDS", help="end after so long without work")
    one.set_defaults(run=supervisor)

    workspace = commands.add_parser("workspace", help="the folder that holds everything")
    actions = workspace.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(workspace))
    one = actions.add_parser("rebuild", parents=[common], help="make the index again from the files")
    one.set_defaults(run=rebuild)
    one = actions.add_parser("executor", parents=[common], help="show or choose where jobs run: docs/cluster.md")
    one.add_argument("executor", nargs="?", metavar="NAME", help="local, ray or slurm (default: only show it)")
    one.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="e.g. num_gpus=0.25")
    one.set_defaults(run=executor)

    job = commands.add_parser("job", help="the queue")
    actions = job.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(job))
    one = actions.add_parser("list", parents=[common], help="newest first")
    one.set_defaults(run=list_jobs)
    one = actions.add_parser("cancel", parents=[common], help="stop it; what is finished stays")
    one.add_argument("id", metavar="JOB")
    one.set_defaults(run=cancel_job)

    problems = commands.add_parser("problems", help="problems of our own")
    actions = problems.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(problems))
    one = actions.add_parser("generate", parents=[common], help="write generated problems in GSM8K's format")
    one.add_argument("--n", type=int, default=1500)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    one.set_defaults(run=generate_problems)


def demo(options: argparse.Namespace) -> None:
    from sae.workspace.start import start_demo

    workspace = workspace_of(options)
    job = start_demo(workspace, device=options.device)
    if options.queue:
        emit(options, {"job": job.id, "status": job.status}, f"queued as job {job.id}")
        return
    from sae.cli.experiments import show
    from sae.workspace.demo import NAME
    from sae.workspace.follow import foreground

    foreground(workspace, job, Console())
    show(argparse.Namespace(**{**vars(options), "name": NAME}))


def import_sae(options: argparse.Namespace) -> None:
    from sae.cli.runs import show
    from sae.workspace.imports import import_path

    run = import_path(
        workspace_of(options),
        options.path,
        options.activations,
        layer=options.layer,
        position=options.position,
        target_layer=options.target_layer,
        target_position=options.target_position,
        k=options.k,
    )
    show(argparse.Namespace(**{**vars(options), "id": run}))


def supervisor(options: argparse.Namespace) -> None:
    from sae.workspace.supervisor import Supervisor

    worker = Supervisor(workspace_of(options), options.device, idle_exit=options.idle_exit)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()


def rebuild(options: argparse.Namespace) -> None:
    from sae.workspace.rebuild import rebuild_index

    found = rebuild_index(workspace_of(options))
    emit(options, found, ", ".join(f"{count:,} {what}" for what, count in found.items()))


def executor(options: argparse.Namespace) -> None:
    from sae.workspace.executors.configuration import configure, configured, parse_settings

    workspace = workspace_of(options)
    if options.executor:
        found = configure(workspace, options.executor, parse_settings(options.set))
    elif options.set:
        raise UserError("name the executor whose settings these are: workspace executor ray --set num_gpus=0.25")
    else:
        found = configured(workspace)
    settings = "\n".join(f"  {name}: {to_json(value)}" for name, value in found.settings.items())
    emit(
        options,
        {"executor": found.name, "settings": found.settings},
        "\n".join(filter(None, [f"{found.name}: {found.describe()}", settings])),
    )


def list_jobs(options: argparse.Namespace) -> None:
    lines = [
        {
            "job": job.id,
            "kind": job.kind,
            "name": job.name,
            "device": job.device,
            "status": job.status,
            "error": job.error,
        }
        for job in workspace_of(options).jobs.all()
    ]
    emit(options, lines, table(lines, "no jobs"))


def cancel_job(options: argparse.Namespace) -> None:
    jobs = workspace_of(options).jobs
    job = jobs.get(options.id)
    jobs.cancel(job.id)
    now = jobs.get(job.id)
    emit(
        options,
        {"job": job.id, "cancelled": job.active},
        f"job {job.id}: {'told to stop' if now.active else now.status}",
    )


def generate_problems(options: argparse.Namespace) -> None:
    from sae.problems import generate, write_jsonl

    found = generate(options.n, seed=options.seed)
    Console().update(len(found.examples), len(found.examples), "problems")
    write_jsonl(found, options.out)
    emit(
        options,
        {"n": len(found.examples), "file": str(options.out)},
        f"{len(found.examples):,} problems in {options.out}",
    )
