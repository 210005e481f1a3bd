"""The measured run that the Right or wrong page is about, and the recipe that measures it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sae.ui import reproduce
from sae.ui.thought_words import slice_text

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

CONVENTION = "seed"
OPEN = "wrong_feature_open"


@dataclass(frozen=True)
class Shown:
    """One measured run: `results` has metrics, interval, n and split; `notes` as the protocol left them."""

    workspace: Workspace
    experiment: ExperimentFolder
    run: str
    results: dict[str, Any]
    notes: dict[str, Any]
    thoughts: bool
    effect: str

    @property
    def source(self) -> str:
        """The experiment that trained the run."""
        return str(self.experiment.source)

    @property
    def is_full(self) -> bool:
        return self.notes.get("protocol") == "full"

    @property
    def n(self) -> str:
        return f"{self.results['n']:,} {self.results['split']} problems"

    @property
    def place(self) -> str:
        layer, step = self.notes.get("layer"), self.notes.get("position")
        if step is None:
            return "all rows" if layer is None else f"layer {layer}"
        return slice_text(layer, step, CONVENTION) if self.thoughts else f"layer {layer}, position {step}"


def again(shown: Shown, python: str) -> reproduce.Reproduce:
    """The command that measures it again, and `python` below the lines that open the experiment."""
    spec = shown.experiment.spec
    opened = f'from sae.workspace import Workspace\n\nexperiment = Workspace.at().experiment("{spec["name"]}")\n'
    hashes = reproduce.hashes(shown.workspace.run(shown.run))
    return reproduce.Reproduce(reproduce.measurement_command(spec), opened + python, hashes)
