"""How the figures of the Ablations page are made again."""

from __future__ import annotations

from sae.ui.ablation_data import Shown
from sae.ui.grid_views import hashes
from sae.ui.reproduce import Reproduce, experiment_command


def recipe(shown: Shown, imports: str, call: str) -> Reproduce:
    """`call` on the table `done` of finished runs, of the experiment and choices that are shown."""
    name = shown.experiment.name
    kept = {factor: value for factor, value in shown.choices.items() if value is not None}
    python = (
        f"{imports}from sae.ui.grid_data import matching, runs_with_metrics\nfrom sae.workspace import Workspace\n\n"
        f'table = runs_with_metrics(Workspace.at().experiment("{name}"), "{shown.split}")\n'
        f'done = matching(table[table["state"] == "done"], {kept!r})\n{call}'
    )
    return Reproduce(_command(shown), python, hashes(shown.experiment))


def runs_recipe(shown: Shown, imports: str, call: str) -> Reproduce:
    """`call` on `runs`, the finished runs of each level that is drawn."""
    choices = {factor: value for factor, value in shown.choices.items() if value is not None}
    python = (
        f"{imports}from sae.ui.ablation_data import Shown, drawn\nfrom sae.workspace import Workspace\n\n"
        f'workspace = Workspace.at()\nexperiment = workspace.experiment("{shown.experiment.name}")\n'
        f'runs, held = drawn(Shown(workspace, experiment, "{shown.split}", "{shown.metric}", {choices!r}))\n{call}'
    )
    return Reproduce(_command(shown), python, hashes(shown.experiment))


def _command(shown: Shown) -> str:
    spec = shown.experiment.spec
    return f"{experiment_command(spec)}\npython -m sae experiment show {shown.experiment.name} --json"
