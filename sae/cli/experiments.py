"""`experiment run | define | list | show | delete | estimate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sae.cli.output import emit, table, workspace_of
from sae.common.errors import UserError
from sae.common.progress import Console, seconds_text


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    from sae.experiments import KINDS, MEASUREMENTS

    kinds = [*KINDS, *MEASUREMENTS]
    experiment = commands.add_parser("experiment", help="train experiments and read their results")
    actions = experiment.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(experiment))

    for name, run, text in (
        ("run", run_experiment, "train an experiment"),
        ("estimate", estimate, "what it would cost, from a short probe"),
    ):
        one = actions.add_parser(name, parents=[common], help=text)
        one.add_argument("kind", metavar="KIND", help=f"{', '.join(kinds)}, or a YAML file that defines one")
        one.add_argument("--activations", metavar="NAME", help="what is trained on")
        one.add_argument("--layer", type=int)
        one.add_argument("--position", type=int)
        if name == "run":
            one.add_argument("--name", required=True, metavar="EXP")
            one.add_argument("--queue", action="store_true", help="only put it into the queue")
            one.add_argument("--processes", type=int, default=1, metavar="N", help="that share each batch (torchrun)")
            one.add_argument("--from", dest="source", metavar="EXP", help="whose runs are measured")
            one.add_argument("--runs", metavar="LIST", help="which of them (default: all that are finished)")
        one.add_argument("--layers", metavar="LIST", help="of a sweep (default: all)")
        one.add_argument("--positions", metavar="LIST", help="of a sweep (default: all)")
        one.add_argument("--k", metavar="LIST", help="e.g. 5,10,20,100")
        one.add_argument("--d-sae", metavar="LIST", help="e.g. 512,1024,2048")
        one.add_argument("--seeds", type=int, metavar="N", help="how many seeds (default 1)")
        one.add_argument("--preset", metavar="LIST", help="corrected, published, report; of orthogonality published")
        one.add_argument(
            "--vary",
            action="append",
            default=[],
            metavar="FACTOR=LIST",
            help="a factor of the kind, e.g. alpha=0.1,1",
        )
        one.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="e.g. epochs=25")
        one.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
        one.set_defaults(run=run)

    one = actions.add_parser("define", parents=[common], help="print a kind's definition as YAML, to change and run")
    one.add_argument("kind", metavar="KIND", help=", ".join(KINDS))
    one.set_defaults(run=define)
    one = actions.add_parser("list", parents=[common], help="all experiments")
    one.set_defaults(run=list_experiments)
    for name, run, text in (("show", show, "runs and results"), ("delete", delete, "delete it and its runs")):
        one = actions.add_parser(name, parents=[common], help=text)
        one.add_argument("name", metavar="EXP")
        one.set_defaults(run=run)


def spec_of(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """The specification that the options stand for. Raises UserError for a list that can't be read."""
    from sae.experiments import KINDS
    from sae.experiments.plan import seed_values

    factors: dict[str, list[Any]] = {}
    presets = [word.strip() for word in (options.preset or "").split(",") if word.strip()]
    whole = options.kind in KINDS and bool(KINDS[options.kind].presets)
    if whole and len(presets) > 1:
        raise UserError(
            f"--preset {options.preset!r}: {options.kind} takes one, {', '.join(KINDS[options.kind].presets)}"
        )
    if presets and not whole:
        factors["preset"] = presets
    lists = (
        ("layer", "--layers", options.layers),
        ("position", "--positions", options.positions),
        ("d_sae", "--d-sae", options.d_sae),
        ("k", "--k", options.k),
    )
    for factor, option, text in lists:
        if text is not None:
            factors[factor] = _whole_numbers(option, text)
    for item in options.vary:
        factor, equals, text = item.partition("=")
        if not equals or not text:
            raise UserError(f"--vary {item!r}: write it as factor=value,value")
        factors[factor.replace("-", "_")] = [_value(word.strip()) for word in text.split(",")]
    if options.seeds is not None:
        factors["seed"] = seed_values(options.seeds)
    if not options.activations:
        raise UserError(f"{options.kind} trains SAEs: say on what with --activations NAME")
    kind, definition = _kind_and_definition(options.kind)
    spec = {
        "kind": kind,
        "name": name,
        "activations": options.activations,
        "layer": options.layer,
        "position": options.position,
        "factors": factors,
        "settings": settings_from(options.set),
    }
    if whole and presets:
        spec["preset"] = presets[0]
    return spec if definition is None else {**spec, "definition": definition}


def _kind_and_definition(named: str) -> tuple[str, dict[str, Any] | None]:
    """A kind's name, and its definition where a YAML file is named."""
    from sae.experiments.definition import SUFFIXES, read_definition

    if not named.endswith(SUFFIXES):
        return named, None
    definition = read_definition(Path(named).expanduser())
    return str(definition["name"]), definition


def measurement_spec_of(options: argparse.Namespace) -> dict[str, Any]:
    """The specification of a measurement that the options stand for. Raises UserError without `--from`."""
    if not options.source:
        raise UserError(f"{options.kind} measures the runs of another experiment: name it with --from EXP")
    return {
        "kind": options.kind,
        "name": options.name,
        "source": options.source,
        "runs": [word.strip() for word in (options.runs or "").split(",") if word.strip()],
        "settings": settings_from(options.set),
    }


def settings_from(items: list[str]) -> dict[str, Any]:
    """Settings by name from `SETTING=VALUE`. Raises UserError for what is not written so."""
    settings: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UserError(f"--set {item!r}: write it as setting=value")
        settings[key.replace("-", "_")] = value
    return settings


def _value(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.replace("_", "").split(",")]
    except ValueError:
        raise UserError(f"{option} {text!r}: write whole numbers with commas between, e.g. 5,10,20") from None


def run_experiment(options: argparse.Namespace) -> None:
    from sae.experiments import MEASUREMENTS
    from sae.workspace.start import start_experiment, start_measurement

    workspace = workspace_of(options)
    if options.kind in MEASUREMENTS:
        if options.processes != 1:
            raise UserError(f"--processes {options.processes} is for training; {options.kind} measures: leave it out")
        job = start_measurement(workspace, measurement_spec_of(options), device=options.device)
    else:
        spec = spec_of(options, options.name)
        job = start_experiment(workspace, spec, device=options.device, processes=options.processes)
    if options.queue:
        emit(options, {"job": job.id, "experiment": options.name, "status": job.status}, f"queued as job {job.id}")
        return
    from sae.workspace.follow import foreground

    foreground(workspace, job, Console())
    show(argparse.Namespace(**{**vars(options), "name": options.name}))


def estimate(options: argparse.Namespace) -> None:
    from sae.workspace.start import estimate_experiment

    found = estimate_experiment(workspace_of(options), spec_of(options, "estimate"), options.device)
    emit(
        options,
        found,
        f"{found['runs']} runs on {found['device_name']}: about {seconds_text(found['seconds'])}, "
        f"{found['memory_bytes'] / 1e6:,.0f} MB of memory, {found['disk_bytes'] / 1e6:,.0f} MB on disk",
    )


def define(options: argparse.Namespace) -> None:
    from sae.experiments import kind_of
    from sae.experiments.definition import definition_of, to_yaml

    definition = definition_of(kind_of(options.kind))
    emit(options, definition, to_yaml({**definition, "name": f"my-{options.kind}"[:60]}).rstrip())


def list_experiments(options: argparse.Namespace) -> None:
    lines = []
    for experiment in workspace_of(options).experiments():
        runs = experiment.runs_table()
        lines.append(
            {
                "name": experiment.name,
                "kind": experiment.kind,
                "activations": experiment.activations,
                "runs": len(runs),
                "done": int((runs["status"] == "done").sum()),
                "created": experiment.created,
            }
        )
    emit(options, lines, table(lines, "no experiments yet: 'python -m sae demo' makes one"))


def show(options: argparse.Namespace) -> None:
    from sae.workspace.show import document

    experiment = workspace_of(options).experiment(options.name)
    content = document(experiment)
    if experiment.source is not None:
        emit(options, content, table(_measured_lines(content)))
        return
    lines = []
    for run in content["runs"]:
        split = "validation" if "validation" in run["metrics"] else "all"
        metrics = run["metrics"].get(split, {})
        lines.append(
            {
                **run["factors"],
                "status": run["status"],
                **{f"{split} {m}": metrics[m] for m in ("ev_total", "ev_flat", "mse", "l0") if m in metrics},
                **({"dead (all)": run["metrics"]["all"]["dead"]} if metrics else {}),
                "seconds": run.get("seconds"),
                "run": run["id"],
            }
        )
    emit(options, content, table(lines))


def _measured_lines(content: dict[str, Any]) -> list[dict[str, Any]]:
    found = [{"run": one["run"], "split": one["split"], "n": one["n"], **one["metrics"]} for one in content["results"]]
    return found or [{"run": run["id"], "status": run["status"], "error": run["error"]} for run in content["runs"]]


def delete(options: argparse.Namespace) -> None:
    workspace_of(options).delete_experiment(options.name)
    emit(options, {"deleted": options.name}, f"deleted {options.name}")
