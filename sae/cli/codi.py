"""`codi train | evaluate`: small CODI models of our own, and how often CODI models are right."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.cli.output import emit, table, unread_text
from sae.common.errors import UserError
from sae.common.progress import Console
from sae.language_models.codi.config import KINDS, CodiConfig

if TYPE_CHECKING:
    from sae.language_models.codi.model import Codi
    from sae.problems.examples import ProblemSet

CONTROL = "codi-no-thoughts"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    codi = commands.add_parser("codi", help="language models that think in hidden vectors before they answer")
    actions = codi.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(codi))

    one = actions.add_parser("train", parents=[common], help="train a small one on generated problems; resumable")
    one.add_argument("--kind", required=True, choices=tuple(KINDS))
    one.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets checkpoint, curves and model/")
    one.add_argument("--after", type=Path, metavar="FOLDER", help="a training whose first phase is taken over")
    one.add_argument("--export", metavar="NAME", help="also put the model among those that ship, under this name")
    one.add_argument("--control", metavar="NAME", help="the model without thoughts that its card compares it with")
    for setting in fields(CodiConfig):
        if setting.name == "kind":
            continue
        name = f"--{setting.name.replace('_', '-')}"
        assert setting.default is not MISSING
        if isinstance(setting.default, bool):
            one.add_argument(name, action=argparse.BooleanOptionalAction, default=setting.default)
        else:
            kind = type(setting.default)
            metavar = "N" if kind is int else "X"
            one.add_argument(
                name, type=kind, default=setting.default, metavar=metavar, help=f"default {setting.default}"
            )
    one.set_defaults(run=train)

    one = actions.add_parser("evaluate", parents=[common], help="how often it is right, with fewer thoughts too")
    one.add_argument("--model", metavar="NAME", help="a shipped model, a folder or a hub id")
    one.add_argument("--problems", metavar="FILE", help="a .jsonl file, gsm8k:test, or generated:N:PART")
    one.add_argument("--generate", type=int, metavar="N", help="so many fresh problems (default 1000)")
    one.add_argument("--seed", type=int, default=0, metavar="S", help="of the fresh problems")
    parts = ("seen", "unseen", "all")
    one.add_argument("--numbers", default="unseen", choices=parts, help="of fresh problems (default unseen)")
    one.add_argument("--phrasings", default="seen", choices=parts, help="of fresh problems (default seen)")
    one.add_argument("--templates", default="seen", choices=parts, help="of fresh problems (default seen)")
    one.add_argument("--control", metavar="NAME", help=f"a model without thoughts; default: {CONTROL} beside the model")
    one.add_argument("--device", default="auto")
    one.set_defaults(run=evaluate)


def train(options: argparse.Namespace) -> None:
    from sae.language_models.codi import folders, loading
    from sae.language_models.codi.card import card, measured
    from sae.language_models.codi.trainer import Training

    config = CodiConfig(**{setting.name: getattr(options, setting.name) for setting in fields(CodiConfig)})
    if options.export is not None:
        from sae.common.files import check_name

        check_name(options.export, "--export")
    training = Training(config, options.out, after=options.after)
    codi = training.run(Console())
    folder = options.out / "model"
    name = options.export or options.out.resolve().name
    codi.source |= {"name": name, "licence": "MIT", "trained": config.as_dict()}
    folders.save(codi, folder)
    # What is measured are the weights as they are kept, in half precision.
    kept = loading.load(str(folder))
    kept.source |= {"name": name}
    beside = loading.FOLDER / CONTROL if options.control is None and loading.FOLDER.is_dir() else None
    control, why = _control(kept, options.control, beside)
    found = measured(kept, control=control, progress=Console())
    command = _command(options, config)
    document = {
        "format": 1,
        "command": command,
        "config": config.as_dict(),
        "seconds": round(training.seconds, 1),
        "history": training.history,
        "measured": found,
        "no_latent": why,
    }
    words = card(kept, config, found, command=command, seconds=training.seconds)
    places = [folder, *([loading.FOLDER / options.export] if options.export else [])]
    for place in places:
        folders.save(codi, place, card=words, training=document)
    summary = {"model": name, "kind": config.kind, "folders": [str(place) for place in places], **found}
    emit(options, summary, f"{words}\nwritten to {', '.join(map(str, places))}")


def evaluate(options: argparse.Namespace) -> None:
    from sae.common.devices import choose
    from sae.language_models.codi import evaluation, loading

    problems = _problems(options)
    console = Console()
    device = choose(options.device)
    codi = loading.load(options.model or loading.DEFAULT, device=device, progress=console)
    origin = Path(str(codi.source.get("from", "")))
    control, why = _control(codi, options.control, origin.parent / CONTROL if origin.is_dir() else None, device)
    total = len(problems)
    found = evaluation.evaluate(
        codi, problems.examples, control=control, tick=lambda done: console.update(done, total, "answering")
    )
    document = {
        **found,
        "control": None if control is None else control.source.get("name"),
        "no_latent_note": why,
        "problems": problems.source,
        "unread": [str(line) for line in problems.skipped],
    }
    emit(options, document, _text(document))


def _problems(options: argparse.Namespace) -> ProblemSet:
    from sae import problems

    if options.problems is not None:
        if options.generate is not None:
            raise UserError("--problems and --generate both say which problems: give one of them")
        return problems.load(options.problems, seed=options.seed)
    n = 1000 if options.generate is None else options.generate
    return problems.generate(
        n, options.seed, numbers=options.numbers, phrasings=options.phrasings, templates=options.templates
    )


def _control(codi: Codi, asked: str | None, beside: Path | None, device: str = "cpu") -> tuple[Codi | None, str | None]:
    """The model without thoughts to compare with, or None and why there is none.

    Raises:
        UserError: if one was asked for that is no control for this model.
    """
    from sae.language_models.codi import loading
    from sae.language_models.codi.evaluation import why_not_control

    if asked is None:
        if not codi.n_thoughts:
            return None, "this model is itself one without thoughts"
        if beside is None or not loading.is_codi(str(beside)):
            return None, f"there is no {CONTROL} beside this model: name one with --control"
    control = loading.load(asked or str(beside), device=device)
    control.source |= {"name": asked or CONTROL}
    reason = why_not_control(codi, control)
    if reason is not None and asked is not None:
        raise UserError(f"{asked!r} is no control for {codi.source.get('name')!r}: {reason}")
    return (control, None) if reason is None else (None, f"{CONTROL} beside it is no control for this model: {reason}")


def _command(options: argparse.Namespace, config: CodiConfig) -> str:
    """The command line of this training, without what is the default anyway."""
    words = ["python", "-m", "sae", "codi", "train", "--kind", config.kind, "--out", options.out.name]
    for setting in fields(CodiConfig):
        value = getattr(config, setting.name)
        if setting.name == "kind" or value == setting.default:
            continue
        name = setting.name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    if options.after is not None:
        words += ["--after", options.after.name]
    if options.export is not None:
        words += ["--export", options.export]
    return shlex.join(words)


def _text(found: dict[str, Any]) -> str:
    """For people: a line a way of thinking."""
    lines = [
        {"answered": f"{number} thoughts", "right": share, **_bounds(found["intervals"]["accuracy"][number])}
        for number, share in found["accuracy"].items()
    ]
    lines += [
        {"answered": f"thought {number} zeroed", "right": share, **_bounds(found["intervals"]["zeroed"][number])}
        for number, share in found["zeroed"].items()
    ]
    lines.append(
        {"answered": "in words (teacher)", "right": found["teacher"], **_bounds(found["intervals"]["teacher"])}
    )
    if found["no_latent"] is not None:
        bounds = _bounds(found["intervals"]["no_latent"])
        lines.append({"answered": "control without thoughts", "right": found["no_latent"], **bounds})
    for steps, part in found["by_steps"].items():
        bounds = _bounds(found["intervals"]["by_steps"][steps])
        lines.append({"answered": f"{steps} reasoning steps, n = {part['n']:,}", "right": part["share"], **bounds})
    said = [f"{found['model']} ({found['title'] or found['kind']}), {found['n']:,} problems", table(lines)]
    if found["kind"] == "supervised":
        said.append("the layout of values over thoughts is a training target of this model")
    if found["skipped"]:
        words = ", ".join(found["unknown_words"][:8])
        said.append(f"{found['skipped']:,} problems skipped: words outside its vocabulary, most often {words}")
    if unread := unread_text(found["unread"]):
        said.append(unread)
    if found["no_latent_note"]:
        said.append(f"no accuracy of a control: {found['no_latent_note']}")
    return "\n".join(said)


def _bounds(interval: Any) -> dict[str, float]:
    return {"from": interval[0], "to": interval[1]}
