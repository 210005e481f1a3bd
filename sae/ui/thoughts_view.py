"""The Thoughts page: what it is about (an experiment over steps of thinking), its controls, and its views."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from sae.capture.conventions import CONVENTIONS
from sae.common.errors import UserError
from sae.ui import address, empty, pickers, thought_data
from sae.ui.thought_words import SAID, is_thoughts, step_text, steps_of, supervised
from sae.ui.words import plain

if TYPE_CHECKING:
    from sae.capture.store import Activations
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

MEAN = "mean"
VIEWS = {"maps": "Maps", "problem": "One problem", "feature": "One feature", "paste": "Paste a problem"}


@dataclass(frozen=True)
class Shown:
    """What the page is about: activations, an experiment on them if there is one, and the choices made."""

    workspace: Workspace
    activations: Activations
    experiment: ExperimentFolder | None
    runs: pd.DataFrame
    convention: str
    choices: dict[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> list[int]:
        """The layers that the activations hold."""
        return sorted({piece.layer for piece in self.activations.slices if piece.layer is not None})

    @property
    def steps(self) -> list[int]:
        return steps_of(self.activations)

    @property
    def trained(self) -> list[int]:
        """The layers that have a run of this experiment."""
        return sorted(set(self.runs["layer"].tolist())) if len(self.runs) else []

    @property
    def at_home(self) -> bool:
        """Whether rows are steps of thinking, so that problems can be opened."""
        return is_thoughts(self.activations.manifest)


def pick(workspace: Workspace) -> tuple[Shown, str] | None:
    """Draw the row of controls; None if there is nothing to show."""
    names = thought_data.thought_experiments(workspace)
    captured = thought_data.thought_activations(workspace)
    if not names and not captured:
        return None
    _follow(workspace, names)
    experiment: ExperimentFolder | None = None
    with st.container(width=160):
        if names:
            chosen = pickers.pick_choice(
                "Experiment", names, name="experiment", carry=True, resets=("run", "feature", "layer", "position")
            )
            experiment = workspace.experiment(str(chosen))
            activations = workspace.open_activations(experiment.activations)
        else:
            name = pickers.pick_choice("Activations", captured, name="activations", carry=True, resets=("example",))
            activations = workspace.open_activations(str(name))
    thoughts = is_thoughts(activations.manifest)
    views = [view for view in VIEWS if thoughts or view == "maps"]
    if experiment is None:
        views = ["problem", "paste"]
    first = "maps" if "maps" in views and experiment is not None and _several(experiment) else views[-3:][0]
    view = pickers.pick_choice(
        "View", views, name="view", start=first, format=VIEWS.__getitem__, look="buttons"
    ) or first  # fmt: skip
    choices = {} if experiment is None else _configuration(experiment, view)
    convention = "seed"
    if thoughts:
        with st.container(width=110):
            said = [*SAID.values(), "Links and files name a slice by its step, which is its seed position."]
            convention = pickers.pick_choice(
                "Positions", list(CONVENTIONS), name="convention", default="seed", carry=True, help="\n\n".join(said)
            ) or "seed"  # fmt: skip
    split = address.get("split") or "validation"
    runs = pd.DataFrame() if experiment is None else thought_data.runs_by_slice(experiment, split)
    return Shown(workspace, activations, experiment, runs, convention, choices), view


def _several(experiment: ExperimentFolder) -> bool:
    """Whether its runs stand on more than one slice."""
    return {"layer", "position"} <= set(experiment.factors)


def _configuration(experiment: ExperimentFolder, view: str) -> dict[str, Any]:
    """K, dictionary size and recipe, where there are several; None is the mean of all, which only maps can show."""
    titles = {"k": "K", "d_sae": "Features", "preset": "Recipe"}
    found: dict[str, Any] = {}
    for name, values in experiment.factors.items():
        if name in ("layer", "position", "seed"):
            continue
        if len(values) == 1:
            found[name] = values[0]
            continue
        title = titles.get(name, name.replace("_", " "))
        if view == "maps" and name != "preset":
            with st.container(width=125):
                chosen = pickers.pick_choice(title, [MEAN, *values], name=name, format=_mean_or)
                found[name] = None if chosen == MEAN else chosen
            continue
        if address.get(name) == MEAN:
            address.choose(drop=[name])
        with st.container(width=95 if name != "preset" else 130):
            found[name] = pickers.pick_choice(title, values, name=name)
    return found


def _mean_or(value: Any) -> str:
    return "mean of all" if value == MEAN else f"{value:,}" if isinstance(value, int) else str(value)


def _follow(workspace: Workspace, names: list[str]) -> None:
    """An address that names a run means its experiment, its configuration and its slice."""
    asked = address.get("run")
    if asked is None:
        return
    try:
        run = workspace.run(asked)
    except UserError:
        return
    if run.config.get("experiment") not in names:
        return
    factors = {name: value for name, value in run.factors.items() if name not in ("seed", "layer", "position")}
    data = run.config["data"]
    address.choose(
        drop=["run"], experiment=run.config["experiment"], layer=data["layer"], position=data["position"], **factors
    )


def pick_layer(shown: Shown, layers: list[int]) -> int:
    """One of `layers`, in the address."""
    with st.container(width=90):
        return int(pickers.pick_choice("Layer", layers, name="layer", start=_middle(layers)) or 0)


def _middle(layers: list[int]) -> int:
    return layers[len(layers) // 2]


def notes(shown: Shown) -> None:
    """What must be said whatever is shown: the convention, and how the model was trained."""
    if not shown.at_home:
        return
    said = plain(SAID[shown.convention])
    if more := supervised(shown.activations.manifest):
        said += f" **{plain(more)}**"
    st.caption(said)


def step_names(shown: Shown, html: bool = True) -> dict[int, str]:
    """By step what an axis says: its name and its position by the convention."""
    from sae.capture.conventions import step_name
    from sae.ui.thought_words import position_text

    if not shown.at_home:
        return {step: str(step) for step in shown.steps}
    return {step: f"{step_name(step)}<br>{position_text(step, shown.convention)}" for step in shown.steps}


def place_text(shown: Shown, layer: int, step: int) -> str:
    """`layer 2, position 3 (z3)`."""
    return f"layer {layer}, " + (step_text(step, shown.convention) if shown.at_home else f"position {step}")


def nothing() -> None:
    """What to do where there are no thoughts yet."""
    empty.empty(
        "No thoughts yet",
        "A CODI model thinks in hidden vectors between a question and its answer. Capture them, then train a sweep "
        "over layers and positions.",
        {"Capture thoughts": ("data", {"show": "capture"}), "Start the demo": ("home", {})},
    )
