"""`run evaluate RUN...`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.cli.output import emit, table, workspace_of
from sae.common.errors import UserError
from sae.common.progress import Console

if TYPE_CHECKING:
    from sae.workspace.evaluations import Evaluation


def add(actions: Any, common: argparse.ArgumentParser) -> None:
    from sae.workspace.evaluations import kinds

    one = actions.add_parser("evaluate", parents=[common], help="what it is worth: core metrics, probing, absorption")
    one.add_argument("ids", metavar="RUN", nargs="+")
    names = ", ".join(kinds())
    one.add_argument("--eval", metavar="LIST", default="core", help=f"of {names}, with commas between (default core)")
    one.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="e.g. texts=50")
    one.add_argument("--saebench", metavar="FOLDER", help="also write SAEBench's result files there")
    one.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    one.set_defaults(run=evaluate)


def evaluate(options: argparse.Namespace) -> None:
    from sae.cli.experiments import settings_from
    from sae.workspace.evaluations import evaluation_of, settings_of, start_evaluations
    from sae.workspace.follow import foreground

    workspace = workspace_of(options)
    names = list(dict.fromkeys(word.strip() for word in options.eval.split(",") if word.strip()))
    wanted = settings_of(names, settings_from(options.set))
    job = start_evaluations(workspace, options.ids, wanted, device=options.device)
    ended: UserError | None = None
    if job is not None:
        try:
            foreground(workspace, job, Console())
        except UserError as error:  # what was found before it is kept, and printed with what another command found
            ended = error
    documents, texts, failed = [], [], []
    for run in dict.fromkeys(workspace.run(word).id for word in options.ids):
        folder = workspace.run(run)
        found = {name: evaluation_of(folder, name, settings) for name, settings in wanted.items()}
        documents.append({"run": run, "evaluations": {name: _document(one, options) for name, one in found.items()}})
        texts += [f"{folder.title}, {name}\n{_text(one)}" for name, one in found.items()]
        failed += [f"{name} of {run}: {one.error or ended}" for name, one in found.items() if not one.done]
    if ended is not None and len(failed) == len(documents) * len(wanted):
        raise ended
    emit(options, documents, "\n\n".join(texts))
    if failed:
        total = len(documents) * len(wanted)
        raise UserError(f"{len(failed)} of {total} evaluations failed; the first, {failed[0]}")


def _document(evaluation: Evaluation, options: argparse.Namespace) -> dict[str, Any]:
    if not evaluation.done:
        return {"error": evaluation.error}
    from sae.workspace.saebench import write_result

    written = write_result(evaluation, Path(options.saebench)) if options.saebench else None
    about = {"saebench_file": str(written)} if written is not None else {}
    return {"results": evaluation.results, "notes": evaluation.notes, "folder": str(evaluation.folder), **about}


def _text(evaluation: Evaluation) -> str:
    if not evaluation.done:
        return f"failed: {evaluation.error}"
    notes = evaluation.notes
    lines = []
    for found in evaluation.results:
        for name, value in found["metrics"].items():
            low, high = found["interval"].get(name, (None, None))
            lines.append({"metric": name, "value": value, "low": low, "high": high, "split": found["split"]})
    said = [table(lines, "")] if lines else []
    if theirs := notes.get("saebench"):
        said.append("As SAEBench computes them:\n" + table([{"metric": k, "value": v} for k, v in theirs.items()]))
    said += [str(notes[name]) for name in ("cannot", "why") if notes.get(name)]
    return "\n".join(said)
